package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) nodeCommand() *cobra.Command {
	return group("node", "Show and steer the machines that train and serve",
		a.nodeListCommand(), a.nodeDescribeCommand(),
		a.cordonCommand("cordon", "Give a node no new work; what runs there goes on", &tandemv1.CordonNodeRequest{Cordoned: true}),
		a.cordonCommand("drain", "Give a node no new work; what trains there goes elsewhere at a step boundary, or stops with a checkpoint",
			&tandemv1.CordonNodeRequest{Cordoned: true, Drain: true}),
		a.cordonCommand("uncordon", "Give a node work again", &tandemv1.CordonNodeRequest{}),
		a.nodeRemoveCommand())
}

func (a *app) nodeListCommand() *cobra.Command {
	req := &tandemv1.ListNodesRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Nodes.ListNodes(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			g := grid{
				header: []string{"ID", "NAME", "POOL", "STATE", "SLOTS", "USED", "AGE", "ADDRESS", "AGENT", "LIBTORCH"},
				wide:   3,
				empty:  "No nodes. Add one: tandem token create --join --role worker, then tandem worker on the machine",
			}
			for _, u := range res.Msg.GetNodes() {
				n := u.GetNode()
				g.rows = append(g.rows, []string{
					n.GetId(), n.GetName(), n.GetPool(), nodeState(n), fmt.Sprint(len(n.GetSlots())), number(u.GetSlotsUsed()),
					age(n.GetJoinedAt()), n.GetAddress(), n.GetAgentVersion(), n.GetLibtorchVersion(),
				})
			}
			return a.show(res.Msg, g)
		}),
	}
	cmd.Flags().StringVar(&req.Pool, "pool", "", "only this pool")
	return cmd
}

// clockText is how far a clock is off; empty: it is right, for all that is known.
func clockText(offset *durationpb.Duration) string {
	d := offset.AsDuration().Round(time.Second)
	switch {
	case d > 0:
		return d.String() + " ahead"
	case d < 0:
		return (-d).String() + " behind"
	}
	return ""
}

func nodeState(n *tandemv1.Node) string {
	switch {
	case n.GetDraining():
		return plain.Word(n.GetState()) + ", draining"
	case n.GetCordoned():
		return plain.Word(n.GetState()) + ", cordoned"
	case len(n.GetFullFolders()) > 0:
		return plain.Word(n.GetState()) + ", disk full"
	case n.GetFault() != nil:
		return plain.Word(n.GetState()) + ", faulty"
	}
	return plain.Word(n.GetState())
}

// diskText says in which folders of a node nothing can be written; empty: there are none.
func diskText(n *tandemv1.Node) string {
	var full []string
	for _, f := range n.GetFullFolders() {
		full = append(full, f.GetPath()+": "+f.GetCause())
	}
	if len(full) == 0 {
		return ""
	}
	return "takes no new work until something can be written in " + strings.Join(full, ", ")
}

func (a *app) nodeDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "describe NODE",
		Short:             "Show a node, its slots and what runs there",
		Args:              want("NODE"),
		ValidArgsFunction: a.complete(nodeNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Nodes.GetNode(ctx, connect.NewRequest(&tandemv1.GetNodeRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			u, n := res.Msg.GetNode(), res.Msg.GetNode().GetNode()
			slots := grid{title: "Slots", header: []string{"SLOT", "DEVICE", "NAME", "THREADS", "MEMORY"}}
			for _, s := range n.GetSlots() {
				memory := ""
				if s.GetMemoryBytes() > 0 {
					memory = size(s.GetMemoryBytes())
				}
				slots.rows = append(slots.rows, []string{s.GetId(), s.GetDevice(), s.GetName(), number(s.GetThreads()), memory})
			}
			work := grid{title: "Running here", header: []string{"ID"}}
			for _, id := range append(u.GetAllocationIds(), u.GetReplicaIds()...) {
				work.rows = append(work.rows, []string{id})
			}
			return a.show(res.Msg, fields{
				{"Node", n.GetId()}, {"Name", n.GetName()}, {"Pool", n.GetPool()}, {"State", nodeState(n)},
				{"Since", moment(n.GetStateChangedAt())}, {"Joined", moment(n.GetJoinedAt())}, {"Address", n.GetAddress()},
				{"Clock", clockText(n.GetClockOffset())}, {"Certificate ends", date(n.GetCertificateExpiresAt())},
				{"Agent", n.GetAgentVersion()}, {"libtorch", n.GetLibtorchVersion()}, {"Sandbox", sandboxText(n)},
				{"Fault", n.GetFault().GetCause()}, {"Disk", diskText(n)},
				{"Slots used", fmt.Sprintf("%d of %d", u.GetSlotsUsed(), len(n.GetSlots()))},
			}, slots, work)
		}),
	}
}

func (a *app) cordonCommand(verb, summary string, req *tandemv1.CordonNodeRequest) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " NODE",
		Short:             summary,
		Args:              want("NODE"),
		ValidArgsFunction: a.complete(nodeNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			req.Id, req.RequestId = args[0], a.newRequestID()
			res, err := c.Nodes.CordonNode(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			n := res.Msg.GetNode()
			return a.show(res.Msg, text(fmt.Sprintf("%s (%s) is %s", n.GetId(), n.GetName(), nodeState(n))))
		}),
	}
}

func (a *app) nodeRemoveCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Forget a node that is lost; its certificate is refused from then on",
		Long: `Forget a node that is lost; its certificate is refused from then on. With --force also one that is alive, such as a machine that
you cannot log in to: what it runs is placed elsewhere at once, and its agent ends as soon as it hears of it. It still knows the
gossip key and, if it ran work, the store's keys: replace them with "tandem cluster rotate-gossip-key" and "tandem store rotate".`,
		Args:              want("NODE"),
		ValidArgsFunction: a.complete(nodeNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(fmt.Sprintf("Remove node %s? To come back it needs a new join token.", args[0])); err != nil {
				return err
			}
			res, err := c.Nodes.RemoveNode(ctx, connect.NewRequest(&tandemv1.RemoveNodeRequest{Id: args[0], RequestId: a.newRequestID(), Force: force}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text(args[0]+" is removed"))
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "also when it is alive: it is shut out at once")
	return cmd
}

func (a *app) poolCommand() *cobra.Command {
	return group("pool", "Show pools of nodes", &cobra.Command{
		Use:   "list",
		Short: "List pools and how much of them is in use",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Nodes.ListPools(ctx, connect.NewRequest(&tandemv1.ListPoolsRequest{}))
			if err != nil {
				return err
			}
			g := grid{header: []string{"POOL", "NODES", "SLOTS", "USED"}, empty: "No pools: no node has joined."}
			for _, p := range res.Msg.GetPools() {
				g.rows = append(g.rows, []string{p.GetName(), number(p.GetNodes()), number(p.GetSlots()), number(p.GetSlotsUsed())})
			}
			return a.show(res.Msg, g)
		}),
	})
}
