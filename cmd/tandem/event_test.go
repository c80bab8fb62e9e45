package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestEventTypes: a type is named by its word, or by how it begins.
func TestEventTypes(t *testing.T) {
	got, err := eventTypes([]string{"alias", "job_failed"})
	want := []tandemv1.Event_Type{tandemv1.Event_TYPE_ALIAS_MOVED, tandemv1.Event_TYPE_ALIAS_REMOVED, tandemv1.Event_TYPE_ALIAS_KEPT, tandemv1.Event_TYPE_JOB_FAILED}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v", got)
		}
	}
	if _, err := eventTypes([]string{"job_fail"}); err == nil || !strings.Contains(err.Error(), "job_failed") {
		t.Errorf("half a word: %v", err)
	}
}

// happening is a cluster in which something happens each five seconds.
type happening struct {
	tandemv1connect.EventServiceClient
	began time.Time
	asked int
}

func (h *happening) ListEvents(_ context.Context, req *connect.Request[tandemv1.ListEventsRequest]) (*connect.Response[tandemv1.ListEventsResponse], error) {
	h.asked++
	res := &tandemv1.ListEventsResponse{}
	for i := 0; i <= int(time.Since(h.began)/(5*time.Second)); i++ {
		if id := string(rune('a' + i)); id > req.Msg.GetAfter() {
			res.Events = append(res.Events, &tandemv1.Event{Id: id, Time: timestamppb.New(h.began), Level: "info", Noun: "job", Message: "Event " + id + "."})
		}
	}
	return connect.NewResponse(res), nil
}

// TestEventsFollow: each event is shown once, below one header, until somebody ends it.
func TestEventsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		a := &app{out: &out, output: "table"}
		h := &happening{began: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		if err := a.events(ctx, &client.Client{Events: h}, &tandemv1.ListEventsRequest{}, true); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "WHAT HAPPENED") != 1 || strings.Count(out.String(), "Event ") != 3 || !strings.Contains(out.String(), "Event c.") {
			t.Errorf("%s", out.String())
		}
		if h.asked < 10 || h.asked > 14 {
			t.Errorf("asked %d times in 12 s", h.asked)
		}
	})
}
