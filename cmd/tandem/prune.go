package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// days parses a duration that may have days, weeks and years: "30d", "12h".
func days(name, text string) (*durationpb.Duration, error) {
	d, err := model.ParseDuration(text)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--%s: %q is not a duration such as 30d, 12h or 1w", name, text)}
	}
	return durationpb.New(time.Duration(d)), nil
}

func (a *app) pruneCommand() *cobra.Command {
	req := &tandemv1.PruneJobsRequest{}
	var olderThan string
	var states []string
	ended := []string{"completed", "failed", "cancelled"}
	cmd := &cobra.Command{
		Use:   "prune --older-than AGE",
		Short: "Delete jobs and sweeps that ended long ago, for good",
		Long: `Delete jobs and sweeps that ended longer ago than an age, as tandem delete does: with checkpoints, logs and metrics. What they
published stays, and a job whose checkpoint another job needs. --logs deletes their logs alone. --dry-run shows what would go. The
cluster does it by itself when it is told to: tandem cluster retention --jobs 90d --logs 30d.`,
		Example: "  tandem prune --older-than 30d --dry-run\n  tandem prune --older-than 1w --state failed,cancelled -y\n" +
			"  tandem prune --older-than 30d --logs",
		Args: want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if olderThan == "" {
				return &usageError{fmt.Errorf("say how old: --older-than 30d")}
			}
			if req.OlderThan, err = days("older-than", olderThan); err != nil {
				return err
			}
			if req.States, err = statesNamed(states, ended); err != nil {
				return err
			}
			return a.prune(ctx, c, req)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&olderThan, "older-than", "", "those that ended longer ago than this: 30d, 12h")
	f.StringSliceVar(&states, "state", nil, "only these states: "+strings.Join(ended, ", "))
	f.BoolVar(&req.LogsOnly, "logs", false, "only their logs: jobs, checkpoints and metrics stay")
	f.BoolVar(&req.DryRun, "dry-run", false, "only show what would be deleted and what is kept")
	must(cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(ended, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// prune asks, and deletes old jobs until there are no more.
func (a *app) prune(ctx context.Context, c *client.Client, req *tandemv1.PruneJobsRequest) error {
	if req.GetDryRun() || !a.yes {
		plan := proto.CloneOf(req)
		plan.DryRun = true
		res, err := c.Jobs.PruneJobs(ctx, connect.NewRequest(plan))
		if err != nil {
			return err
		}
		sum := pruneSum(req, res.Msg)
		switch {
		case req.GetDryRun():
			return a.show(res.Msg, pruneGrid(req, res.Msg), text("Would delete "+sum))
		case going(res.Msg) == 0:
			return a.show(res.Msg, pruneGrid(req, res.Msg), text("Nothing to delete."))
		}
		if err := a.confirm(fmt.Sprintf("Delete %s for good?", sum)); err != nil {
			return err
		}
	}
	all := &tandemv1.PruneJobsResponse{}
	for more := true; more; {
		req.RequestId = a.newRequestID()
		res, err := c.Jobs.PruneJobs(ctx, connect.NewRequest(req))
		if err != nil {
			return err
		}
		all.Jobs, more = append(all.Jobs, res.Msg.GetJobs()...), res.Msg.GetMore()
	}
	return a.show(all, pruneGrid(req, all), text("Deleted "+pruneSum(req, all)))
}

// going counts the jobs that go.
func going(r *tandemv1.PruneJobsResponse) (n int) {
	for _, j := range r.GetJobs() {
		if !j.GetKeep() {
			n++
		}
	}
	return n
}

// pruneSum is what goes in all: "3 jobs with 12 checkpoints (4.5 MB), their logs and metrics".
func pruneSum(req *tandemv1.PruneJobsRequest, r *tandemv1.PruneJobsResponse) string {
	if req.GetLogsOnly() {
		return fmt.Sprintf("the logs of %s jobs", count(going(r)))
	}
	checkpoints, bytes := 0, int64(0)
	for _, j := range r.GetJobs() {
		if !j.GetKeep() {
			checkpoints += int(j.GetCheckpoints())
			bytes += j.GetBytes()
		}
	}
	return fmt.Sprintf("%s jobs with %s checkpoints (%s), their logs and metrics", count(going(r)), count(checkpoints), size(bytes))
}

func pruneGrid(req *tandemv1.PruneJobsRequest, r *tandemv1.PruneJobsResponse) grid {
	g := grid{header: []string{"ID", "NAME", "RETENTION", "STATE", "FINISHED", "SIZE", "REASON", "CHECKPOINTS", "TRIALS"}, wide: 2, empty: "No jobs ended so long ago."}
	if req.GetLogsOnly() {
		g.header, g.wide = []string{"ID", "NAME", "RETENTION", "STATE", "FINISHED", "TRIALS"}, 1
	}
	for _, j := range r.GetJobs() {
		if req.GetLogsOnly() {
			end := age(j.GetFinishedAt())
			g.rows = append(g.rows, []string{j.GetId(), j.GetName(), "delete", plain.Word(j.GetState()), end, count(j.GetTrials())})
			continue
		}
		what := "delete"
		if j.GetKeep() {
			what = "keep"
		}
		g.rows = append(g.rows, []string{
			j.GetId(), j.GetName(), what, plain.Word(j.GetState()), age(j.GetFinishedAt()), size(j.GetBytes()), j.GetReason(), count(j.GetCheckpoints()), count(j.GetTrials()),
		})
	}
	return g
}

// retentionOptions are the flags of cluster retention; empty: stays as it is.
type retentionOptions struct{ jobs, events, logs string }

func (a *app) retentionCommand() *cobra.Command {
	var o retentionOptions
	cmd := &cobra.Command{
		Use:   "retention [--jobs AGE] [--logs AGE] [--events AGE]",
		Short: "Show or change for how long the cluster keeps what is over",
		Long: `Show for how long the cluster keeps jobs after their end, with checkpoints, logs and metrics; their logs, if these are to go earlier;
and events; or change it. It deletes by itself what is older. "off" keeps all, which is so until an admin says otherwise. Versions of
models and datasets are never deleted so.`,
		Example: "  tandem cluster retention --jobs 90d --logs 30d --events 30d\n  tandem cluster retention --jobs off",
		Args:    want(),
		RunE:    a.call(func(ctx context.Context, c *client.Client, _ []string) error { return a.retention(ctx, c.Cluster, o) }),
	}
	cmd.Flags().StringVar(&o.jobs, "jobs", "", "delete jobs so long after their end (90d), or off")
	cmd.Flags().StringVar(&o.logs, "logs", "", "delete the logs of jobs so long after their end (30d), or off")
	cmd.Flags().StringVar(&o.events, "events", "", "delete events after so long (30d), or off")
	return cmd
}

// retention shows the retention of a cluster, or changes what is named.
func (a *app) retention(ctx context.Context, c tandemv1connect.ClusterServiceClient, o retentionOptions) error {
	res, err := c.GetCluster(ctx, connect.NewRequest(&tandemv1.GetClusterRequest{}))
	if err != nil {
		return err
	}
	now := res.Msg.GetRetention()
	if o == (retentionOptions{}) {
		return a.show(&tandemv1.SetRetentionResponse{Retention: now}, retentionFields(now))
	}
	next := &tandemv1.RetentionPolicy{Jobs: now.GetJobs(), Events: now.GetEvents(), Logs: now.GetLogs()}
	for _, f := range []struct {
		name, text string
		to         **durationpb.Duration
	}{{"jobs", o.jobs, &next.Jobs}, {"events", o.events, &next.Events}, {"logs", o.logs, &next.Logs}} {
		switch f.text {
		case "":
		case "off":
			*f.to = nil
		default:
			if *f.to, err = days(f.name, f.text); err != nil {
				return err
			}
		}
	}
	var going []string
	if next.GetJobs() != nil && o.jobs != "" {
		going = append(going, "jobs "+keptFor(next.GetJobs()))
	}
	if next.GetLogs() != nil && o.logs != "" {
		going = append(going, "the logs of jobs "+keptFor(next.GetLogs()))
	}
	if len(going) > 0 {
		what := strings.Join(going, " and ")
		if err := a.confirm(fmt.Sprintf("Delete %s after their end from now on, those that ended before too?", what)); err != nil {
			return err
		}
	}
	set, err := c.SetRetention(ctx, connect.NewRequest(&tandemv1.SetRetentionRequest{Retention: next, RequestId: a.newRequestID()}))
	if err != nil {
		return err
	}
	return a.show(set.Msg, retentionFields(set.Msg.GetRetention()))
}

func retentionFields(p *tandemv1.RetentionPolicy) fields {
	return fields{{"Jobs", keptFor(p.GetJobs())}, {"Logs", keptFor(p.GetLogs())}, {"Events", keptFor(p.GetEvents())}}
}

// keptFor is how long something is kept: "90d".
func keptFor(d *durationpb.Duration) string {
	if d == nil {
		return "kept"
	}
	return model.Duration(d.AsDuration()).String()
}
