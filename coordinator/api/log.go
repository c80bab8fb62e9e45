package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

const (
	maxLogLine = 1 << 20
	// Agents store the last lines a moment after an engine has ended.
	logGrace = 3 * time.Second
)

// LogPrefix is where the log of a trial is: one object of JSON lines each time an agent stores some, at
// trials/<trial>/logs/<unix milliseconds, 13 digits>-<node>-r<rank>-g<generation>.jsonl.
func LogPrefix(trial string) string { return "trials/" + trial + "/logs/" }

// logLine is one line of such an object.
type logLine struct {
	Time time.Time `json:"t"`
	Node string    `json:"node"`
	Rank int32     `json:"rank"`
	Gen  int64     `json:"gen"`
	Line string    `json:"line"`
}

// StreamLogs implements JobService.
func (a jobs) StreamLogs(ctx context.Context, req *connect.Request[tandemv1.StreamLogsRequest], stream *connect.ServerStream[tandemv1.StreamLogsResponse]) error {
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	job, err := v.ResolveJob(req.Msg.GetId())
	if err != nil {
		return err
	}
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var ended time.Time
	for {
		// Whether the job has ended is read before the objects, so that none is missed.
		current, _ := a.deps.State.View().Job(job.GetId())
		final := state.JobFinal(current.GetState())
		for _, trial := range job.GetTrialIds() {
			if err := a.sendLogs(ctx, store, trial, seen, stream); err != nil {
				return err
			}
		}
		if !req.Msg.GetFollow() {
			return nil
		}
		if final && ended.IsZero() {
			ended = time.Now()
			if f := current.GetFinishedAt(); f != nil && f.AsTime().Before(ended) {
				ended = f.AsTime()
			}
		}
		if !ended.IsZero() && time.Since(ended) > logGrace {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.cfg.LogPoll):
		}
	}
}

// sendLogs sends the objects of a trial's log that were not seen yet, in the order of their keys.
func (a jobs) sendLogs(ctx context.Context, store storage.Store, trial string, seen map[string]bool, stream *connect.ServerStream[tandemv1.StreamLogsResponse]) error {
	var fresh []string
	for info, err := range store.List(ctx, LogPrefix(trial)) {
		if err != nil {
			return fmt.Errorf("list the log of %s: %w", trial, err)
		}
		if !seen[info.Key] && strings.HasSuffix(info.Key, ".jsonl") {
			fresh = append(fresh, info.Key)
		}
	}
	slices.Sort(fresh)
	for _, key := range fresh {
		if err := sendLog(ctx, store, trial, key, stream); err != nil {
			return err
		}
		seen[key] = true
	}
	return nil
}

func sendLog(ctx context.Context, store storage.Store, trial, key string, stream *connect.ServerStream[tandemv1.StreamLogsResponse]) error {
	r, _, err := store.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read the log %s: %w", key, err)
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("read the log %s: %w", key, err)
		}
		if err := stream.Send(&tandemv1.StreamLogsResponse{
			Time: timestamppb.New(l.Time), TrialId: trial, NodeId: l.Node, Rank: l.Rank, Generation: l.Gen, Line: l.Line,
		}); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the log %s: %w", key, err)
	}
	return nil
}
