package api

import (
	"context"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

type peers struct{ *API }

// Propose implements PeerService.
func (a peers) Propose(ctx context.Context, req *connect.Request[tandemv1.ProposeRequest]) (*connect.Response[tandemv1.ProposeResponse], error) {
	res, err := a.deps.Consensus.ProposeLocal(ctx, req.Msg.GetCommand())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ProposeResponse{Result: res}), nil
}

// ReadIndex implements PeerService.
func (a peers) ReadIndex(ctx context.Context, _ *connect.Request[tandemv1.ReadIndexRequest]) (*connect.Response[tandemv1.ReadIndexResponse], error) {
	index, err := a.deps.Consensus.ReadIndexLocal(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ReadIndexResponse{Index: index}), nil
}

// Share implements PeerService.
func (a peers) Share(_ context.Context, req *connect.Request[tandemv1.ShareRequest]) (*connect.Response[tandemv1.ShareResponse], error) {
	a.deps.Board.Put(req.Msg.GetProgress(), false)
	a.deps.Board.Hear(req.Msg.GetHeard(), time.Now())
	return connect.NewResponse(&tandemv1.ShareResponse{}), nil
}
