package api

import (
	"context"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// RendezvousSet implements AgentService.
func (a agents) RendezvousSet(ctx context.Context, req *connect.Request[tandemv1.RendezvousSetRequest]) (*connect.Response[tandemv1.RendezvousSetResponse], error) {
	m := req.Msg
	if m.GetKey() == "" {
		return nil, invalid("key: must not be empty")
	}
	if err := a.takesPart(ctx, m.GetAllocationId(), m.GetGeneration()); err != nil {
		return nil, err
	}
	_, err := a.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_PutRendezvous{PutRendezvous: &tandemv1.PutRendezvous{
		AllocationId: m.GetAllocationId(), Generation: m.GetGeneration(), Key: m.GetKey(), Value: m.GetValue(),
	}}})
	return answer(&tandemv1.RendezvousSetResponse{}, err)
}

// RendezvousGet implements AgentService.
func (a agents) RendezvousGet(ctx context.Context, req *connect.Request[tandemv1.RendezvousGetRequest]) (*connect.Response[tandemv1.RendezvousGetResponse], error) {
	m := req.Msg
	if err := a.takesPart(ctx, m.GetAllocationId(), m.GetGeneration()); err != nil {
		return nil, err
	}
	for {
		v := a.deps.State.View()
		if value, ok := v.Rendezvous(m.GetAllocationId(), m.GetGeneration(), m.GetKey()); ok {
			return connect.NewResponse(&tandemv1.RendezvousGetResponse{Value: value}), nil
		}
		if err := checkMember(v, From(ctx).Node, m.GetAllocationId(), m.GetGeneration()); err != nil {
			return nil, err
		}
		if err := a.deps.State.Wait(ctx, v.Index()); err != nil {
			return nil, err
		}
	}
}

// takesPart refuses a node that has no member in this generation of an allocation. This coordinator may lag, so that the
// state as it is has the last word.
func (a agents) takesPart(ctx context.Context, allocation string, generation int64) error {
	node := From(ctx).Node
	if err := checkMember(a.deps.State.View(), node, allocation, generation); err == nil {
		return nil
	}
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	return checkMember(v, node, allocation, generation)
}

func checkMember(v *state.View, node, allocation string, generation int64) error {
	al, ok := v.Allocation(allocation)
	if !ok || al.GetGeneration() != generation {
		return precondition(fmt.Sprintf("generation %d of allocation %s is over, or not committed", generation, allocation))
	}
	if !slices.ContainsFunc(al.GetMembers(), func(m *tandemv1.Member) bool { return m.GetNodeId() == node }) {
		return fmt.Errorf("%w: node %s has no member in allocation %s", ErrDenied, node, allocation)
	}
	return nil
}
