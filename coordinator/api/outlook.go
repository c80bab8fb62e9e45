package api

import (
	"context"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ExplainJob implements JobService.
func (a jobs) ExplainJob(ctx context.Context, req *connect.Request[tandemv1.ExplainJobRequest]) (*connect.Response[tandemv1.ExplainJobResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	if err := spend(ctx, outlookWork); err != nil {
		return nil, err
	}
	job, err := v.ResolveJob(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ExplainJobResponse{Outlook: a.outlook(ctx, v, job, nil)}), nil
}
