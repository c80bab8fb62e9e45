package node

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// PoolCommands are those below "tandem pool".
func (s Shell) PoolCommands() []*cobra.Command {
	return []*cobra.Command{s.pools(), s.createPool(), s.setPool()}
}

func (s Shell) pools() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List pools, how their work is placed, and how much of them is in use",
		Args:  s.Want(),
		RunE: s.Call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Nodes.ListPools(ctx, connect.NewRequest(&tandemv1.ListPoolsRequest{}))
			if err != nil {
				return err
			}
			t := Table{
				Header: []string{"POOL", "NODES", "SLOTS", "USED", "ORDER", "PLACEMENT", "RACKS BY"},
				Empty:  "No pools: no node has joined.",
			}
			for _, p := range res.Msg.GetPools() {
				t.Rows = append(t.Rows, []string{
					p.GetName(), number(p.GetNodes()), number(p.GetSlots()), number(p.GetSlotsUsed()),
					p.GetPolicy().GetOrder(), p.GetPolicy().GetPlacement(), p.GetPolicy().GetRackLabel(),
				})
			}
			return s.Show(res.Msg, "", nil, t)
		}),
	}
}

// policyHelp is what the flags of a pool mean.
const policyHelp = `Of those that wait with one priority the older goes first (fifo). Work is packed on as few nodes as can be, or spread
over them. With racks known (a label of nodes) a job is placed on one node, else in one rack, else across, and replicas in several racks.`

func (s Shell) createPool() *cobra.Command {
	p := &tandemv1.PoolPolicy{}
	cmd := &cobra.Command{
		Use:     "create POOL",
		Short:   "Make a pool before its first node joins",
		Long:    "Make a pool before its first node joins. A pool that nodes are in exists without that.\n" + policyHelp,
		Example: "  tandem pool create gpu --placement pack --rack-label rack",
		Args:    s.Want("POOL"),
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			p.Name = args[0]
			res, err := c.Nodes.CreatePool(ctx, connect.NewRequest(&tandemv1.CreatePoolRequest{Policy: p, RequestId: s.RequestID()}))
			if err != nil {
				return err
			}
			return s.Show(res.Msg, policyText(res.Msg.GetPolicy()), nil)
		}),
	}
	policyFlags(cmd, &p.Order, &p.Placement, &p.RackLabel)
	return cmd
}

func (s Shell) setPool() *cobra.Command {
	var order, placement, rack string
	cmd := &cobra.Command{
		Use:     "set POOL",
		Short:   "Change how the work of a pool is ordered and placed; what runs stays where it is",
		Long:    "Change how the work of a pool is ordered and placed; what runs stays where it is.\n" + policyHelp,
		Example: "  tandem pool set default --placement spread",
		Args:    s.Want("POOL"),
	}
	policyFlags(cmd, &order, &placement, &rack)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if f := cmd.Flags(); !f.Changed("order") && !f.Changed("placement") && !f.Changed("rack-label") {
			return fmt.Errorf("nothing is to be changed: give --order, --placement or --rack-label")
		}
		return nil
	}
	cmd.RunE = s.Call(func(ctx context.Context, c *client.Client, args []string) error {
		req := &tandemv1.SetPoolRequest{Name: args[0], RequestId: s.RequestID()}
		for name, to := range map[string]struct {
			value string
			field **string
		}{"order": {order, &req.Order}, "placement": {placement, &req.Placement}, "rack-label": {rack, &req.RackLabel}} {
			if cmd.Flags().Changed(name) {
				*to.field = &to.value
			}
		}
		res, err := c.Nodes.SetPool(ctx, connect.NewRequest(req))
		if err != nil {
			return err
		}
		return s.Show(res.Msg, policyText(res.Msg.GetPolicy()), nil)
	})
	return cmd
}

func policyFlags(cmd *cobra.Command, order, placement, rack *string) {
	cmd.Flags().StringVar(order, "order", "", "fifo, which is the default")
	cmd.Flags().StringVar(placement, "placement", "", "pack, which is the default, or spread")
	cmd.Flags().StringVar(rack, "rack-label", "", "label of nodes that says in which rack, or below which switch, they are")
}

func policyText(p *tandemv1.PoolPolicy) string {
	text := fmt.Sprintf("pool %s: order %s, placement %s", p.GetName(), p.GetOrder(), p.GetPlacement())
	if p.GetRackLabel() != "" {
		text += ", racks by label " + p.GetRackLabel()
	}
	return text
}
