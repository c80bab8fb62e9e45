package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/state"
	lists "tandem.dev/proto/page"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type events struct{ *API }

// eventLevels are the levels of events, the least first.
var eventLevels = []string{"info", "warning"}

// ListEvents implements EventService.
func (a events) ListEvents(ctx context.Context, req *connect.Request[tandemv1.ListEventsRequest]) (*connect.Response[tandemv1.ListEventsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	res, err := eventPage(v, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

// eventPage is the answer to a request.
func eventPage(v *state.View, m *tandemv1.ListEventsRequest) (*tandemv1.ListEventsResponse, error) {
	limit, err := rows(m.GetLimit(), defaultLimit, maxRows)
	if err != nil {
		return nil, err
	}
	filter, err := eventFilter(v, m)
	if err != nil {
		return nil, err
	}
	res, more := &tandemv1.ListEventsResponse{}, false
	if res.Events, more = lists.Last(v.EventsLike(filter, limit+1), limit); more {
		res.NextPageToken = lists.Events.Token(res.GetEvents()[0].GetId())
	}
	return res, nil
}

// eventFilter is what a request wants to see.
func eventFilter(v *state.View, m *tandemv1.ListEventsRequest) (state.EventFilter, error) {
	before, err := lists.Events.Place(m.GetPageToken())
	f := state.EventFilter{After: m.GetAfter(), Before: before}
	switch {
	case err != nil:
		return f, err
	case m.GetAfter() != "" && !lists.Events.Has(m.GetAfter()):
		return f, invalid(fmt.Sprintf("after: %q is not the id of an event", m.GetAfter()))
	}
	if m.GetJobId() != "" {
		job, err := v.ResolveJob(m.GetJobId())
		if err != nil {
			return f, err
		}
		f.Job = job.GetId()
	}
	least := slices.Index(eventLevels, cmp.Or(m.GetLevel(), eventLevels[0]))
	if least < 0 {
		return f, invalid("level: must be one of " + strings.Join(eventLevels, ", "))
	}
	var node *tandemv1.Node
	if m.GetNode() != "" {
		var err error
		if node, err = v.ResolveNode(m.GetNode()); err != nil {
			return f, err
		}
	}
	f.Wanted = func(e *tandemv1.Event) bool {
		switch {
		case len(m.GetTypes()) > 0 && !slices.Contains(m.GetTypes(), e.GetType()),
			len(m.GetTypes()) == 0 && !m.GetRoutine() && schema.Routine(e.GetType()),
			slices.Index(eventLevels, e.GetLevel()) < least,
			m.GetSince() != nil && !e.GetTime().AsTime().After(m.GetSince().AsTime()),
			node != nil && !concerns(e, node):
			return false
		}
		return true
	}
	return f, nil
}

// concerns says whether an event is about a node or about something on it.
func concerns(e *tandemv1.Event, n *tandemv1.Node) bool {
	if e.GetNoun() == "node" && e.GetSubject() == n.GetId() {
		return true
	}
	for _, name := range []string{"node", "nodes", "other"} {
		if slices.Contains(strings.Split(e.GetArgs()[name], ", "), n.GetName()) {
			return true
		}
	}
	return false
}
