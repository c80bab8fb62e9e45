package api

import (
	"context"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// CreatePool implements NodeService.
func (a nodes) CreatePool(
	ctx context.Context, req *connect.Request[tandemv1.CreatePoolRequest],
) (*connect.Response[tandemv1.CreatePoolResponse], error) {
	put := &tandemv1.PutPool{Name: req.Msg.GetPolicy().GetName(), Create: true}
	if p := req.Msg.GetPolicy(); p != nil {
		put.Order, put.Placement, put.RackLabel = &p.Order, &p.Placement, &p.RackLabel // what is empty takes its default
	}
	policy, err := a.putPool(ctx, req.Msg, put)
	return answer(&tandemv1.CreatePoolResponse{Policy: policy}, err)
}

// SetPool implements NodeService.
func (a nodes) SetPool(ctx context.Context, req *connect.Request[tandemv1.SetPoolRequest]) (*connect.Response[tandemv1.SetPoolResponse], error) {
	m := req.Msg
	policy, err := a.putPool(ctx, m, &tandemv1.PutPool{Name: m.GetName(), Order: m.Order, Placement: m.Placement, RackLabel: m.RackLabel})
	return answer(&tandemv1.SetPoolResponse{Policy: policy}, err)
}

func (a nodes) putPool(ctx context.Context, req request, put *tandemv1.PutPool) (*tandemv1.PoolPolicy, error) {
	if err := spec.CheckPool(put); err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, req, &tandemv1.Command{Command: &tandemv1.Command_PutPool{PutPool: put}})
	if err != nil {
		return nil, err
	}
	return state.PoolPolicy(after, put.GetName()), nil
}
