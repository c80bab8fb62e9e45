package main

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete JOB...",
		Short: "Delete jobs and sweeps that have ended, for good",
		Long: `Delete jobs and sweeps that have ended: their trials, checkpoints, events, logs and metrics. Versions of models that they published
stay and can be served. A job that has not ended is refused, and one whose checkpoint another job needs.`,
		Example:           "  tandem delete digits\n  tandem delete -y job-01k3 job-01k4",
		Args:              some("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			ids, err := a.confirmDelete(ctx, c, args)
			if err != nil {
				return err
			}
			for _, id := range ids {
				res, err := c.Jobs.DeleteJob(ctx, connect.NewRequest(&tandemv1.DeleteJobRequest{Id: id, RequestId: a.newRequestID()}))
				if err != nil {
					return err
				}
				done := id + " is deleted"
				if j := res.Msg.GetJob(); j != nil {
					done = jobTitle(j) + " is deleted"
				}
				if err := a.show(res.Msg, text(done)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// confirmDelete asks whether jobs are to be deleted, by the ids that their names stand for, and returns these. With --yes they stay as they
// were given: when the command is run again they may be gone.
func (a *app) confirmDelete(ctx context.Context, c *client.Client, refs []string) ([]string, error) {
	if a.yes {
		return refs, nil
	}
	var ids, names []string
	for _, ref := range refs {
		res, err := c.Jobs.GetJob(ctx, connect.NewRequest(&tandemv1.GetJobRequest{Id: ref, ToChange: true}))
		if err != nil {
			return nil, err
		}
		ids, names = append(ids, res.Msg.GetJob().GetId()), append(names, jobTitle(res.Msg.GetJob()))
	}
	return ids, a.confirm(fmt.Sprintf("Delete %s for good, with checkpoints, logs and metrics?", strings.Join(names, ", ")))
}

// jobTitle is a job by its id and, for people, its name.
func jobTitle(j *tandemv1.Job) string {
	if j.GetName() == "" {
		return j.GetId()
	}
	return fmt.Sprintf("%s (%s)", j.GetId(), j.GetName())
}
