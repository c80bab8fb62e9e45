package api

import (
	"cmp"
	"context"
	"slices"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type nodes struct{ *API }

// ListNodes implements NodeService.
func (a nodes) ListNodes(ctx context.Context, req *connect.Request[tandemv1.ListNodesRequest]) (*connect.Response[tandemv1.ListNodesResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	res := &tandemv1.ListNodesResponse{}
	for _, n := range v.Nodes() {
		if req.Msg.GetPool() == "" || n.GetPool() == req.Msg.GetPool() {
			res.Nodes = append(res.Nodes, nodeUse(v, n))
		}
	}
	slices.SortStableFunc(res.Nodes, func(a, b *tandemv1.NodeUse) int { return cmp.Compare(a.GetNode().GetName(), b.GetNode().GetName()) })
	return connect.NewResponse(res), nil
}

// nodeUse is what is on a node: how many slots are used is everybody's to know, by what is known of one's own alone.
func nodeUse(v *state.View, n *tandemv1.Node) *tandemv1.NodeUse {
	use := &tandemv1.NodeUse{Node: n, SlotsUsed: int32(len(state.UsageOf(v.Whole(), n.GetId())))} //nolint:gosec // slots of one machine
	for _, a := range v.AllocationsOf(n.GetId()) {
		use.AllocationIds = append(use.AllocationIds, a.GetId())
	}
	for _, r := range v.ReplicasOn(n.GetId()) {
		use.ReplicaIds = append(use.ReplicaIds, r.GetId())
	}
	return use
}

// GetNode implements NodeService.
func (a nodes) GetNode(ctx context.Context, req *connect.Request[tandemv1.GetNodeRequest]) (*connect.Response[tandemv1.GetNodeResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	n, err := v.ResolveNode(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.GetNodeResponse{Node: nodeUse(v, n)}), nil
}

// steer proposes a change of a node, and returns the node as it is then.
func (a nodes) steer(ctx context.Context, req request, ref string, change func(id string) *tandemv1.Command) (*tandemv1.Node, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	n, err := v.ResolveNode(ref)
	if err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, req, change(n.GetId()))
	if err != nil {
		return nil, err
	}
	n, _ = after.Node(n.GetId())
	return n, nil
}

// CordonNode implements NodeService.
func (a nodes) CordonNode(ctx context.Context, req *connect.Request[tandemv1.CordonNodeRequest]) (*connect.Response[tandemv1.CordonNodeResponse], error) {
	m := req.Msg
	n, err := a.steer(ctx, m, m.GetId(), func(id string) *tandemv1.Command {
		return &tandemv1.Command{Command: &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{
			NodeId: id, Cordoned: m.GetCordoned(), Drain: m.GetDrain(), Reason: m.GetReason(), Deadline: m.GetDeadline(),
		}}}
	})
	return answer(&tandemv1.CordonNodeResponse{Node: n}, err)
}

// LabelNode implements NodeService.
func (a nodes) LabelNode(ctx context.Context, req *connect.Request[tandemv1.LabelNodeRequest]) (*connect.Response[tandemv1.LabelNodeResponse], error) {
	if err := spec.CheckLabels(req.Msg.GetLabels()); err != nil {
		return nil, err
	}
	n, err := a.steer(ctx, req.Msg, req.Msg.GetId(), func(id string) *tandemv1.Command {
		return &tandemv1.Command{Command: &tandemv1.Command_LabelNode{LabelNode: &tandemv1.LabelNode{NodeId: id, Labels: req.Msg.GetLabels()}}}
	})
	return answer(&tandemv1.LabelNodeResponse{Node: n}, err)
}

// SetSlot implements NodeService.
func (a nodes) SetSlot(ctx context.Context, req *connect.Request[tandemv1.SetSlotRequest]) (*connect.Response[tandemv1.SetSlotResponse], error) {
	m := req.Msg
	n, err := a.steer(ctx, m, m.GetId(), func(id string) *tandemv1.Command {
		return &tandemv1.Command{Command: &tandemv1.Command_SetSlot{SetSlot: &tandemv1.SetSlot{
			NodeId: id, SlotId: m.GetSlot(), Disabled: m.GetDisabled(), Reason: m.GetReason(),
		}}}
	})
	return answer(&tandemv1.SetSlotResponse{Node: n}, err)
}

// RemoveNode implements NodeService.
func (a nodes) RemoveNode(ctx context.Context, req *connect.Request[tandemv1.RemoveNodeRequest]) (*connect.Response[tandemv1.RemoveNodeResponse], error) {
	_, err := a.steer(ctx, req.Msg, req.Msg.GetId(), func(id string) *tandemv1.Command {
		return &tandemv1.Command{Command: &tandemv1.Command_RemoveNode{RemoveNode: &tandemv1.RemoveNode{NodeId: id, Force: req.Msg.GetForce()}}}
	})
	return answer(&tandemv1.RemoveNodeResponse{}, err)
}

// answer is what a call returns.
func answer[T any](m *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// ListPools implements NodeService.
func (a nodes) ListPools(ctx context.Context, _ *connect.Request[tandemv1.ListPoolsRequest]) (*connect.Response[tandemv1.ListPoolsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListPoolsResponse{Pools: state.Pools(v.Whole())}), nil
}
