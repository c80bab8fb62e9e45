package node

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// PoolCommands are those below "tandem pool".
func (s Shell) PoolCommands() []*cobra.Command { return []*cobra.Command{s.pools()} }

func (s Shell) pools() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List pools and how much of them is in use",
		Args:  s.Want(),
		RunE: s.Call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Nodes.ListPools(ctx, connect.NewRequest(&tandemv1.ListPoolsRequest{}))
			if err != nil {
				return err
			}
			t := Table{Header: []string{"POOL", "NODES", "SLOTS", "USED"}, Empty: "No pools: no node has joined."}
			for _, p := range res.Msg.GetPools() {
				t.Rows = append(t.Rows, []string{p.GetName(), number(p.GetNodes()), number(p.GetSlots()), number(p.GetSlotsUsed())})
			}
			return s.Show(res.Msg, "", nil, t)
		}),
	}
}
