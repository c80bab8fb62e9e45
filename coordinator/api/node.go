package api

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"connectrpc.com/connect"

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

// CordonNode implements NodeService.
func (a nodes) CordonNode(ctx context.Context, req *connect.Request[tandemv1.CordonNodeRequest]) (*connect.Response[tandemv1.CordonNodeResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	n, err := v.ResolveNode(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{NodeId: n.GetId(), Cordoned: req.Msg.GetCordoned(), Drain: req.Msg.GetDrain()}},
	})
	if err != nil {
		return nil, err
	}
	n, _ = after.Node(n.GetId())
	return connect.NewResponse(&tandemv1.CordonNodeResponse{Node: n}), nil
}

// RemoveNode implements NodeService.
func (a nodes) RemoveNode(ctx context.Context, req *connect.Request[tandemv1.RemoveNodeRequest]) (*connect.Response[tandemv1.RemoveNodeResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	n, err := v.ResolveNode(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	_, _, err = a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_RemoveNode{RemoveNode: &tandemv1.RemoveNode{NodeId: n.GetId(), Force: req.Msg.GetForce()}},
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.RemoveNodeResponse{}), nil
}

// ListPools implements NodeService.
func (a nodes) ListPools(ctx context.Context, _ *connect.Request[tandemv1.ListPoolsRequest]) (*connect.Response[tandemv1.ListPoolsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListPoolsResponse{Pools: pools(v.Whole())}), nil
}

// pools counts slots by pool, of nodes that are alive.
func pools(v *state.View) []*tandemv1.Pool {
	byName := map[string]*tandemv1.Pool{}
	for _, n := range v.Nodes() {
		p := byName[n.GetPool()]
		if p == nil {
			p = &tandemv1.Pool{Name: n.GetPool()}
			byName[p.GetName()] = p
		}
		p.Nodes++
		if n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE {
			p.Slots += int32(len(n.GetSlots()))                    //nolint:gosec // slots of one machine
			p.SlotsUsed += int32(len(state.UsageOf(v, n.GetId()))) //nolint:gosec // slots of one machine
		}
	}
	var all []*tandemv1.Pool
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}
