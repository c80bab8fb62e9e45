package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) logsCommand() *cobra.Command {
	var followLogs, times bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Show what the engines of a job wrote",
		Long: `Show what the engines of a job wrote: the time, the node, r and the rank, the generation, and the line. With -o json each
line comes as the engine wrote it.`,
		Args:              want("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			id, err := a.jobID(ctx, c, args[0])
			if err != nil {
				return err
			}
			if tail > 0 && followLogs {
				return &usageError{errors.New("--tail and --follow exclude each other: the last lines of a log are known when it has been read")}
			}
			l := &logs{app: a, times: times, tail: tail, shown: map[logSource]int{}}
			err = l.stream(ctx, c, &tandemv1.StreamLogsRequest{Id: id, Follow: followLogs})
			if ctx.Err() != nil {
				if followLogs {
					a.say("Detached. The job goes on.")
				}
				return &silentError{errInterrupted}
			}
			return errors.Join(err, l.flush(ctx, c))
		}),
	}
	quantity.Flag(cmd.Flags(), &tail, "tail", 0, 1, 0, "number of lines to show, the last ones")
	cmd.Flags().BoolVarP(&followLogs, "follow", "f", false, "go on with new lines until the job ends; Ctrl-C detaches")
	cmd.Flags().BoolVar(&times, "timestamps", false, "begin each line with its day and time")
	return cmd
}

// logSource is one engine: its lines keep their order.
type logSource struct {
	trial, node string
	rank        int32
	generation  int64
}

type logs struct {
	app   *app
	times bool
	names map[string]string // of the nodes, by id; asked for with the first line
	tail  int               // only so many lines, the last; 0: all
	told  bool              // that lines were deleted
	held  []*tandemv1.StreamLogsResponse
	shown map[logSource]int // lines of each engine, so that none is shown again after a new connection
}

// stream shows lines to the end, across the loss of coordinators.
func (l *logs) stream(ctx context.Context, c *client.Client, req *tandemv1.StreamLogsRequest) error {
	var seen map[logSource]int // in this connection, which begins with the first line
	return watch(ctx, c, streamed[tandemv1.StreamLogsResponse]{
		open: func(ctx context.Context) (*connect.ServerStreamForClient[tandemv1.StreamLogsResponse], error) {
			seen = map[logSource]int{}
			return c.Jobs.StreamLogs(ctx, connect.NewRequest(req))
		},
		take: func(m *tandemv1.StreamLogsResponse) (bool, error) {
			if m.GetDeletedAt() != nil {
				return false, l.deleted(m)
			}
			from := logSource{m.GetTrialId(), m.GetNodeId(), m.GetRank(), m.GetGeneration()}
			seen[from]++
			if seen[from] <= l.shown[from] {
				return false, nil
			}
			l.shown[from] = seen[from]
			if l.tail > 0 {
				l.held = append(l.held[max(0, len(l.held)-l.tail+1):], m)
				return false, nil
			}
			return false, l.write(ctx, c, m)
		},
		ends: true,
	})
}

// deleted says once that lines are missing, and since when.
func (l *logs) deleted(m *tandemv1.StreamLogsResponse) error {
	if l.told {
		return nil
	}
	l.told = true
	if l.app.output == "json" || l.app.output == "yaml" {
		return l.app.show(m)
	}
	l.app.say("The logs of this job were %s.", deletedText(m.GetDeletedAt(), m.GetKeptFor()))
	return nil
}

// deletedText says when logs were deleted, and how long after the end of their job.
func deletedText(at *timestamppb.Timestamp, kept *durationpb.Duration) string {
	if at == nil {
		return ""
	}
	const day = 24 * time.Hour
	after := kept.AsDuration().Round(time.Minute)
	if after >= 2*day {
		return fmt.Sprintf("deleted on %s, %d days after its end", date(at), after/day)
	}
	return fmt.Sprintf("deleted on %s, %s after its end", date(at), model.Duration(after))
}

// flush shows the lines that were held back, since only the last are wanted.
func (l *logs) flush(ctx context.Context, c *client.Client) error {
	for _, m := range l.held {
		if err := l.write(ctx, c, m); err != nil {
			return err
		}
	}
	return nil
}

// nodeNamesByID is for people; without an answer they read ids.
func nodeNamesByID(ctx context.Context, c *client.Client) map[string]string {
	names := map[string]string{}
	res, err := c.Nodes.ListNodes(ctx, connect.NewRequest(&tandemv1.ListNodesRequest{}))
	if err != nil {
		return names
	}
	for _, n := range res.Msg.GetNodes() {
		names[n.GetNode().GetId()] = n.GetNode().GetName()
	}
	return names
}

func (l *logs) write(ctx context.Context, c *client.Client, m *tandemv1.StreamLogsResponse) error {
	if l.app.output == "json" || l.app.output == "yaml" {
		return l.app.show(m)
	}
	if l.names == nil {
		l.names = nodeNamesByID(ctx, c)
	}
	node := m.GetNodeId()
	if name := l.names[node]; name != "" {
		node = name
	}
	_, err := fmt.Fprintln(l.app.out, logLine(m, node, l.times))
	return err
}
