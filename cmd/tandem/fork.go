package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/spec"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) forkCommand() *cobra.Command {
	var o submitOptions
	cmd := &cobra.Command{
		Use:   "fork JOB",
		Short: "Submit the spec of a job again, with changes",
		Long: `Submit the spec of a job again, with changes: as it was accepted, with its defaults and the version of its dataset. It begins from the
beginning, not from a checkpoint of the job.`,
		Example: `  tandem fork digits --set training.seed=2
  tandem fork digits --set name=longer --set training.epochs=60 --wait`,
		Args:              want("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Jobs.GetJob(ctx, connect.NewRequest(&tandemv1.GetJobRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			a.sayWhich(res.Msg)
			b, err := plain.Marshal(res.Msg.GetJob().GetSpec())
			if err != nil {
				return err
			}
			s, err := spec.Parse("the spec of "+res.Msg.GetJob().GetId(), b, o.sets)
			if err != nil {
				return &usageError{err}
			}
			_, err = a.submit(ctx, c, s, ".", o)
			return err
		}),
	}
	submitFlags(cmd, &o)
	return cmd
}
