package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) checkpointCommand() *cobra.Command {
	return group("checkpoint", "Show, verify, download and delete checkpoints",
		a.checkpointListCommand(), a.checkpointDescribeCommand(), a.checkpointVerifyCommand(), a.checkpointDownloadCommand(),
		a.checkpointDeleteCommand())
}

func (a *app) checkpointListCommand() *cobra.Command {
	req := &tandemv1.ListCheckpointsRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List checkpoints, newest first",
		Args:  cobra.NoArgs,
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
	return &cobra.Command{
		Use:               "verify CHECKPOINT",
		Short:             "Read every byte of a checkpoint and compare it with its hashes",
		Args:              want("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			found, err := c.Checkpoints.GetCheckpoint(ctx, connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			id := found.Msg.GetCheckpoint().GetId()
			res, err := c.Checkpoints.VerifyCheckpoint(ctx, connect.NewRequest(&tandemv1.VerifyCheckpointRequest{Id: id}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text(id+" is whole"))
		}),
	}
}

func (a *app) checkpointDownloadCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:               "download CHECKPOINT --to FOLDER",
		Short:             "Download the files of a checkpoint",
		Args:              want("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Checkpoints.GetCheckpoint(ctx, connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			id := res.Msg.GetCheckpoint().GetId()
			if to == "" {
				to = id
			}
			return a.downloadAll(ctx, c, "checkpoint/"+id, to)
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "folder; by default one named like the checkpoint")
	return cmd
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
				res, err := c.Checkpoints.DeleteCheckpoint(ctx, connect.NewRequest(&tandemv1.DeleteCheckpointRequest{Id: id, RequestId: newRequestID()}))
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
