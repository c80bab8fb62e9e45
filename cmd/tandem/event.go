package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) eventsCommand() *cobra.Command {
	req := &tandemv1.ListEventsRequest{}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened in the cluster, oldest first",
		Args:  cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Events.ListEvents(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			g := grid{header: []string{"TIME", "LEVEL", "ABOUT", "WHAT HAPPENED", "SUBJECT"}, wide: 1, empty: "No events."}
			for _, e := range res.Msg.GetEvents() {
				g.rows = append(g.rows, []string{
					e.GetTime().AsTime().Local().Format("01-02 15:04:05"), e.GetLevel(), e.GetNoun(), e.GetMessage(), e.GetSubject(),
				})
			}
			return a.show(res.Msg, g)
		}),
	}
	cmd.Flags().StringVar(&req.JobId, "job", "", "only of this job")
	within(cmd.Flags(), &req.Limit, "limit", 100, 1, 0, "at most so many, the newest")
	return cmd
}
