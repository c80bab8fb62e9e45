package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// happening is a cluster in which something happens each five seconds, at the first moment too.
type happening struct {
	tandemv1connect.EventServiceClient
	began time.Time
	asked int
	each  int // events each five seconds; 0 is 1
}

func (h *happening) ListEvents(_ context.Context, req *connect.Request[tandemv1.ListEventsRequest]) (*connect.Response[tandemv1.ListEventsResponse], error) {
	h.asked++
	res := &tandemv1.ListEventsResponse{}
	for i := 0; i < max(1, h.each)*(1+int(time.Since(h.began)/(5*time.Second))); i++ {
		if id := fmt.Sprintf("%04d", i); id > req.Msg.GetAfter() && (req.Msg.GetPageToken() == "" || id < req.Msg.GetPageToken()) {
			res.Events = append(res.Events, &tandemv1.Event{Id: id, Time: timestamppb.New(h.began), Level: "info", Noun: "job", Message: "Event " + id + "."})
		}
	}
	if n := len(res.GetEvents()) - int(req.Msg.GetLimit()); n > 0 {
		res.Events = res.GetEvents()[n:]
		res.NextPageToken = res.GetEvents()[0].GetId()
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
		if err := a.events(ctx, &client.Client{Events: h}, &tandemv1.ListEventsRequest{}, 100, true); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "WHAT HAPPENED") != 1 || strings.Count(out.String(), "Event ") != 3 || !strings.Contains(out.String(), "Event 0002.") {
			t.Errorf("%s", out.String())
		}
		if h.asked < 10 || h.asked > 14 {
			t.Errorf("asked %d times in 12 s", h.asked)
		}
	})
}

// TestEventsAreWhole: people see the newest and are told that there are older ones, programs get all, or a token for the others.
func TestEventsAreWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &happening{began: time.Now(), each: 2300}
		show := func(output string, limit int32) (out, said string) {
			var o, e strings.Builder
			a := &app{out: &o, err: &e, output: output}
			if err := a.events(t.Context(), &client.Client{Events: h}, &tandemv1.ListEventsRequest{}, a.rowLimit(limit), false); err != nil {
				t.Fatal(err)
			}
			return o.String(), e.String()
		}
		out, said := show("table", 0)
		if strings.Count(out, "Event ") != 100 || !strings.Contains(out, "Event 2299.") || !strings.Contains(said, "the newest 100") {
			t.Errorf("%d events, %s", strings.Count(out, "Event "), said)
		}
		for limit, want := range map[int32]int{0: 2300, 2200: 2200, 7: 7} {
			out, said := show("json", limit)
			var got struct {
				Events []struct{ ID string }
				Next   string `json:"next_page_token"`
			}
			if err := json.Unmarshal([]byte(out), &got); err != nil || said != "" || len(got.Events) != want || (got.Next != "") != (want < 2300) {
				t.Fatalf("limit %d: %d events, next %q, said %q, %v", limit, len(got.Events), got.Next, said, err)
			}
			for i, e := range got.Events {
				if e.ID != fmt.Sprintf("%04d", 2300-want+i) {
					t.Fatalf("limit %d: place %d has %s", limit, i, e.ID)
				}
			}
		}
	})
}

// TestFollowLosesNothing: what happens between two questions is shown, however much it is.
func TestFollowLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		a := &app{out: &out, err: io.Discard, output: "table"}
		h := &happening{began: time.Now(), each: 1500}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		if err := a.events(ctx, &client.Client{Events: h}, &tandemv1.ListEventsRequest{}, 100, true); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "Event "); n != 1600 {
			t.Errorf("%d events, want the newest 100 and 1,500 that came", n)
		}
	})
}
