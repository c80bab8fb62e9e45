package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) scaleCommand() *cobra.Command {
	req := &tandemv1.ScaleJobRequest{}
	cmd := &cobra.Command{
		Use:   "scale JOB",
		Short: "Change how many workers a job should have; it goes over at a step boundary",
		Long: "Change how many workers a job should have, between resources.min and resources.max of its spec. One that trains goes over at\n" +
			"a step boundary, as soon as there are slots for it; the batch stays the same, and so does the result.",
		Args:              want("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			req.Id, req.RequestId = args[0], a.newRequestID()
			res, err := c.Jobs.ScaleJob(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			j := res.Msg.GetJob()
			done := fmt.Sprintf("%s (%s) should have %s; follow it with `tandem wait %s`", j.GetId(), j.GetName(), workers(j), j.GetId())
			return a.show(res.Msg, text(done))
		}),
	}
	quantity.Flag(cmd.Flags(), &req.Workers, "workers", 0, 1, 0, "how many workers")
	must(cmd.MarkFlagRequired("workers"))
	return cmd
}

// workers is how many workers a job should have.
func workers(j *tandemv1.Job) string {
	if n := workersOf(j); n != 1 {
		return fmt.Sprintf("%d workers", n)
	}
	return "1 worker"
}

func workersOf(j *tandemv1.Job) int32 {
	if j.GetWorkers() != 0 {
		return j.GetWorkers()
	}
	return j.GetSpec().GetResources().GetWorkers()
}

// workersField says how many workers a job should have, may have, and where.
func workersField(j *tandemv1.Job) string {
	r := j.GetSpec().GetResources()
	if r.GetMin() == r.GetMax() {
		return fmt.Sprintf("%d in pool %s", workersOf(j), r.GetPool())
	}
	return fmt.Sprintf("%d (%d to %d) in pool %s", workersOf(j), r.GetMin(), r.GetMax(), r.GetPool())
}
