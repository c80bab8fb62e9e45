package main

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) checkpointCommand() *cobra.Command {
	return group("checkpoint", "Show, verify, download and delete checkpoints",
		a.checkpointListCommand(), a.checkpointDescribeCommand(), a.checkpointVerifyCommand(), a.checkpointDownloadCommand(),
		a.checkpointDeleteCommand(), a.checkpointPruneCommand())
}

func (a *app) checkpointListCommand() *cobra.Command {
	req := &tandemv1.ListCheckpointsRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List checkpoints, newest first",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Checkpoints.ListCheckpoints(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			g := grid{
				header: []string{"ID", "JOB", "STEP", "EPOCH", "METRICS", "SIZE", "AGE", "TRIAL", "GENERATION"},
				wide:   2,
				empty:  "No checkpoints. Jobs write them at each evaluation.",
			}
			for _, k := range res.Msg.GetCheckpoints() {
				g.rows = append(g.rows, []string{
					k.GetId(), k.GetJobId(), count(k.GetStep()), fmt.Sprintf("%.4g", k.GetEpoch()), metrics(k.GetMetrics()),
					size(k.GetBytes()), age(k.GetCreatedAt()), k.GetTrialId(), number(k.GetGeneration()),
				})
			}
			return a.show(res.Msg, g)
		}),
	}
	cmd.Flags().StringVar(&req.JobId, "job", "", "only of this job")
	return cmd
}

func (a *app) checkpointDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "describe CHECKPOINT",
		Short:             "Show a checkpoint",
		Args:              want("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Checkpoints.GetCheckpoint(ctx, connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			k := res.Msg.GetCheckpoint()
			state := ""
			if k.GetDeleting() {
				state = "is being deleted"
			}
			return a.show(res.Msg, fields{
				{"Checkpoint", k.GetId()}, {"State", state}, {"Job", k.GetJobId()}, {"Trial", k.GetTrialId()}, {"Step", count(k.GetStep())},
				{"Epoch", fmt.Sprintf("%.4g", k.GetEpoch())}, {"Generation", number(k.GetGeneration())}, {"Metrics", metrics(k.GetMetrics())},
				{"Size", size(k.GetBytes())}, {"Made", moment(k.GetCreatedAt())}, {"Stored at", k.GetPrefix()},
				{"Manifest", "sha256 " + k.GetManifestSha256()},
			})
		}),
	}
}

func (a *app) checkpointVerifyCommand() *cobra.Command {
	var replay int64
	cmd := &cobra.Command{
		Use:   "verify CHECKPOINT",
		Short: "Read every byte of a checkpoint and compare it with its hashes; with --replay, train from it again and compare",
		Long: "Reads every byte of a checkpoint and compares it with its hashes. With --replay N a job then does the N steps after it\n" +
			"again, with as many workers as then, and compares the gradient norm and the loss of each step with those recorded then,\n" +
			"bit for bit. It waits for the job: exit code 0 only if steps were compared and all had the same bits, else 1.\n" +
			"Where the training ends before N steps it compares those there are, and says so.",
		Example:           "  tandem checkpoint verify ckpt-01k3 --replay 20",
		Args:              want("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
	}
	quantity.Flag(cmd.Flags(), &replay, "replay", 0, 1, 10_000, "do this many steps again from it, and compare them with what the training did then")
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		found, err := c.Checkpoints.GetCheckpoint(ctx, connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: args[0]}))
		if err != nil {
			return err
		}
		id := found.Msg.GetCheckpoint().GetId()
		res, err := c.Checkpoints.VerifyCheckpoint(ctx, connect.NewRequest(&tandemv1.VerifyCheckpointRequest{Id: id}))
		if err != nil {
			return err
		}
		if replay > 0 {
			return a.replay(ctx, c, id, replay)
		}
		return a.show(res.Msg, text(id+" is whole"))
	})
	return cmd
}

// replay has the steps after a checkpoint done again, and says what that gave; an error when they are not the same.
func (a *app) replay(ctx context.Context, c *client.Client, id string, steps int64) error {
	res, err := c.Jobs.SubmitJob(ctx, connect.NewRequest(&tandemv1.SubmitJobRequest{RequestId: a.newRequestID(), Spec: &tandemv1.JobSpec{
		Name: short("replay-"+id, 63), Kind: "replay", Replay: &tandemv1.ReplaySpec{CheckpointId: id, Steps: steps},
	}}))
	if err != nil {
		return err
	}
	job := res.Msg.GetJob().GetId()
	last, err := a.followed(ctx, c, job, submitOptions{})
	if err != nil {
		return err
	}
	j := last.GetJob()
	if err := a.show(last, text(id+" is whole. "+j.GetReason())); err != nil {
		return err
	}
	if j.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED {
		return &silentError{fmt.Errorf("job %s %s: %s", job, plain.Word(j.GetState()), j.GetReason())}
	}
	return nil
}

func (a *app) checkpointDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "delete CHECKPOINT...",
		Short:             "Delete checkpoints that nothing needs any more",
		Args:              some("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(fmt.Sprintf("Delete %d checkpoints for good?", len(args))); err != nil {
				return err
			}
			for _, id := range args {
				res, err := c.Checkpoints.DeleteCheckpoint(ctx, connect.NewRequest(&tandemv1.DeleteCheckpointRequest{Id: id, RequestId: a.newRequestID()}))
				if err != nil {
					return err
				}
				if err := a.show(res.Msg, text(id+" is deleted")); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (a *app) checkpointPruneCommand() *cobra.Command {
	req := &tandemv1.PruneCheckpointsRequest{}
	cmd := &cobra.Command{
		Use:   "prune [JOB]",
		Short: "Delete the checkpoints that retention does not keep",
		Long: "Deletes the checkpoints of a job, or of all, that checkpoint.keep of their spec does not keep and nothing needs. The\n" +
			"cluster does that by itself; --dry-run shows what it keeps and what not, and why.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			req.JobId = strings.Join(args, "")
			plan := &tandemv1.PruneCheckpointsRequest{JobId: req.GetJobId(), DryRun: true}
			res, err := c.Checkpoints.PruneCheckpoints(ctx, connect.NewRequest(plan))
			if err != nil {
				return err
			}
			if req.GetDryRun() {
				return a.showRetention(res)
			}
			n := 0
			for _, r := range res.Msg.GetRetention() {
				if !r.GetKeep() && !r.GetCheckpoint().GetDeleting() {
					n++
				}
			}
			if n == 0 {
				return a.show(res.Msg, text("nothing to delete: retention keeps all there are; see why with --dry-run"))
			}
			if err := a.confirm(fmt.Sprintf("Delete %d checkpoints for good?", n)); err != nil {
				return err
			}
			req.RequestId = a.newRequestID()
			res, err = c.Checkpoints.PruneCheckpoints(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return a.showRetention(res)
		}),
	}
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "only show what would be deleted and what is kept")
	return cmd
}

// showRetention shows what becomes of checkpoints and why.
func (a *app) showRetention(res *connect.Response[tandemv1.PruneCheckpointsResponse]) error {
	g := grid{header: []string{"ID", "JOB", "STEP", "SIZE", "RETENTION", "REASON", "METRICS"}, wide: 1, empty: "No checkpoints."}
	for _, r := range res.Msg.GetRetention() {
		what := "delete"
		if r.GetKeep() {
			what = "keep"
		}
		k := r.GetCheckpoint()
		g.rows = append(g.rows, []string{k.GetId(), k.GetJobId(), count(k.GetStep()), size(k.GetBytes()), what, r.GetReason(), metrics(k.GetMetrics())})
	}
	return a.show(res.Msg, g)
}
