package api

import (
	"context"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

type events struct{ *API }

// ListEvents implements EventService.
func (a events) ListEvents(ctx context.Context, req *connect.Request[tandemv1.ListEventsRequest]) (*connect.Response[tandemv1.ListEventsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(or(req.Msg.GetLimit(), defaultLimit))
	if limit < 0 {
		return nil, invalid("limit: must not be negative")
	}
	if req.Msg.GetJobId() == "" {
		return connect.NewResponse(&tandemv1.ListEventsResponse{Events: v.Events(limit)}), nil
	}
	job, err := v.ResolveJob(req.Msg.GetJobId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListEventsResponse{Events: v.EventsOf(job.GetId(), limit)}), nil
}
