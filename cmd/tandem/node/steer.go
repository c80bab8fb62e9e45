package node

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/cmd/tandem/queue"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// waitEvery is the time between two questions of whether a drain is done.
const waitEvery = time.Second

func (s Shell) cordon() *cobra.Command {
	req := &tandemv1.CordonNodeRequest{Cordoned: true}
	cmd := s.steer("cordon", "Give a node no new work; what runs there goes on", req, nil)
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for those who look at the node")
	return cmd
}

func (s Shell) uncordon() *cobra.Command {
	return s.steer("uncordon", "Give a node work again", &tandemv1.CordonNodeRequest{}, nil)
}

func (s Shell) drain() *cobra.Command {
	req := &tandemv1.CordonNodeRequest{Cordoned: true, Drain: true}
	var within time.Duration
	var wait bool
	cmd := s.steer("drain", "Give a node no new work; what runs there goes elsewhere, or stops with a checkpoint", req,
		func(ctx context.Context, c *client.Client, n *tandemv1.Node) error {
			if !wait {
				return nil
			}
			return s.drained(ctx, c, n)
		})
	cmd.Long = `Give a node no new work. What trains there goes elsewhere at a step boundary, or stops with a checkpoint where no slot is
free; replicas serve until others are ready elsewhere. With --deadline what is left then is stopped with a checkpoint, and a minute later taken away.`
	cmd.Example = "  tandem node drain gpu-7 --reason \"new disk\" --deadline 30m --wait"
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for those who look at the node")
	quantity.Flag(cmd.Flags(), &within, "deadline", 0, time.Second, 0, "how long it may take; without it as long as it takes")
	cmd.Flags().BoolVar(&wait, "wait", false, "end when nothing runs there any more; Ctrl-C ends the waiting, not the drain")
	cmd.PreRun = func(*cobra.Command, []string) {
		if within > 0 {
			req.Deadline = durationpb.New(within)
		}
	}
	return cmd
}

// steer is a command that says whether a node takes work; then, which may be nil, is what comes after.
func (s Shell) steer(
	verb, summary string, req *tandemv1.CordonNodeRequest, then func(context.Context, *client.Client, *tandemv1.Node) error,
) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " NODE",
		Short:             summary,
		Args:              s.Want("NODE"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			req.Id, req.RequestId = args[0], s.RequestID()
			res, err := c.Nodes.CordonNode(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			n := res.Msg.GetNode()
			if then != nil {
				if err := then(ctx, c, n); err != nil {
					return err
				}
			}
			return s.Show(res.Msg, fmt.Sprintf("%s (%s) is %s", n.GetId(), n.GetName(), State(n)), nil)
		}),
	}
}

// drained waits until nothing runs on a node, and tells what is left whenever that changes. It fails when the drain was ended.
func (s Shell) drained(ctx context.Context, c *client.Client, n *tandemv1.Node) error {
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for told := ""; ; {
		res, err := c.Nodes.GetNode(ctx, connect.NewRequest(&tandemv1.GetNodeRequest{Id: n.GetId()}))
		if err != nil {
			return err
		}
		u := res.Msg.GetNode()
		left := Left(u)
		switch {
		case left == "":
			return nil
		case !u.GetNode().GetDraining():
			return fmt.Errorf("node %s is not drained any more: somebody has let it take work (%s)", n.GetName(), left)
		case left != told:
			s.Say("%s: %s", n.GetName(), left)
			told = left
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Left says what still runs on a node; empty: nothing does.
func Left(u *tandemv1.NodeUse) string {
	jobs, replicas := len(u.GetAllocationIds()), len(u.GetReplicaIds())
	switch {
	case jobs+replicas == 0:
		return ""
	case replicas == 0:
		return count(jobs, "job") + " left"
	case jobs == 0:
		return count(replicas, "replica") + " left"
	}
	return count(jobs, "job") + " and " + count(replicas, "replica") + " left"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (s Shell) label() *cobra.Command {
	return &cobra.Command{
		Use:   "label NODE KEY=VALUE...",
		Short: "Give a node labels, for which specs can ask (placement.labels); KEY= takes one away",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fmt.Errorf("name a node and its labels, as in: tandem node label gpu-7 rack=r1")
			}
			_, err := queue.ParseLabels(args[1:])
			return err
		},
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			labels, _ := queue.ParseLabels(args[1:])
			req := &tandemv1.LabelNodeRequest{Id: args[0], Labels: labels, RequestId: s.RequestID()}
			res, err := c.Nodes.LabelNode(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			n := res.Msg.GetNode()
			text := "no labels"
			if has := queue.Labels(n.GetLabels()); has != "" {
				text = "labels " + has
			}
			return s.Show(res.Msg, fmt.Sprintf("%s (%s) has %s", n.GetId(), n.GetName(), text), nil)
		}),
	}
}

func (s Shell) slot(verb string, disabled bool) *cobra.Command {
	req := &tandemv1.SetSlotRequest{Disabled: disabled}
	cmd := &cobra.Command{
		Use:               verb + " NODE SLOT",
		Short:             "Give a slot of a node work again",
		Args:              s.Want("NODE", "SLOT"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			req.Id, req.Slot, req.RequestId = args[0], args[1], s.RequestID()
			res, err := c.Nodes.SetSlot(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			n := res.Msg.GetNode()
			text := "takes work"
			if disabled {
				text = "takes no new work; what runs there goes elsewhere"
			}
			return s.Show(res.Msg, fmt.Sprintf("slot %s of %s (%s) %s", req.GetSlot(), n.GetId(), n.GetName(), text), nil)
		}),
	}
	if disabled {
		cmd.Short = "Give a slot of a node no new work; what runs there goes elsewhere as in a drain"
		cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for those who look at the node")
	}
	return cmd
}
