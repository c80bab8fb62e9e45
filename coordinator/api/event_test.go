package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	lists "tandem.dev/proto/page"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestEventFilter: which events a request gets, the newest of them, oldest first.
func TestEventFilter(t *testing.T) {
	at := func(second int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(second, 0)) }
	s := state.New()
	tx := s.Begin()
	tx.SetIndex(1)
	tx.Put(&tandemv1.Node{Id: "node-1", Name: "worker-1"})
	tx.Put(&tandemv1.Node{Id: "node-10", Name: "worker-10"})
	tx.Put(&tandemv1.Job{Id: "job-1", Name: "digits"})
	for i, e := range []*tandemv1.Event{
		{Type: tandemv1.Event_TYPE_NODE_JOINED, Noun: "node", Subject: "node-1"},
		{Type: tandemv1.Event_TYPE_JOB_STARTED, JobId: "job-1", Args: map[string]string{"nodes": "worker-1, worker-2"}},
		{Type: tandemv1.Event_TYPE_CHECKPOINT_COMMITTED, JobId: "job-1"},
		{Type: tandemv1.Event_TYPE_JOB_STARTED, JobId: "job-2", Args: map[string]string{"nodes": "worker-10"}},
		{Type: tandemv1.Event_TYPE_RANKS_LOST, JobId: "job-1", Level: "warning"},
		{Type: tandemv1.Event_TYPE_CHECKPOINT_DELETED, JobId: "job-1"},
		{Type: tandemv1.Event_TYPE_JOB_COMPLETED, JobId: "job-1"},
	} {
		e.Id, e.Time = fmt.Sprintf("%020d.000", i+1), at(int64(i+1))
		if e.GetLevel() == "" {
			e.Level = "info"
		}
		tx.Put(e)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		request *tandemv1.ListEventsRequest
		limit   int32
		want    string // the seconds of the events
	}{
		"all but routine":        {&tandemv1.ListEventsRequest{}, 0, "1 2 4 5 7"},
		"the newest":             {&tandemv1.ListEventsRequest{}, 2, "5 7"},
		"routine too":            {&tandemv1.ListEventsRequest{Routine: true}, 0, "1 2 3 4 5 6 7"},
		"of a type":              {&tandemv1.ListEventsRequest{Types: []tandemv1.Event_Type{tandemv1.Event_TYPE_JOB_STARTED}}, 0, "2 4"},
		"of a routine type":      {&tandemv1.ListEventsRequest{Types: []tandemv1.Event_Type{tandemv1.Event_TYPE_CHECKPOINT_DELETED}}, 0, "6"},
		"of a job":               {&tandemv1.ListEventsRequest{JobId: "digits"}, 0, "2 5 7"},
		"of a level":             {&tandemv1.ListEventsRequest{Level: "warning"}, 0, "5"},
		"of every level":         {&tandemv1.ListEventsRequest{Level: "info"}, 0, "1 2 4 5 7"},
		"of a node":              {&tandemv1.ListEventsRequest{Node: "worker-1"}, 0, "1 2"},
		"of a node by its id":    {&tandemv1.ListEventsRequest{Node: "node-10"}, 0, "4"},
		"since":                  {&tandemv1.ListEventsRequest{Since: at(4)}, 0, "5 7"},
		"after one":              {&tandemv1.ListEventsRequest{After: fmt.Sprintf("%020d.000", 4)}, 0, "5 7"},
		"after one that is gone": {&tandemv1.ListEventsRequest{After: fmt.Sprintf("%020d.500", 4)}, 0, "5 7"},
		"after the last":         {&tandemv1.ListEventsRequest{After: fmt.Sprintf("%020d.000", 7)}, 0, ""},
	} {
		tc.request.Limit = tc.limit
		res, err := eventPage(s.View(), tc.request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, e := range res.GetEvents() {
			got = append(got, fmt.Sprint(e.GetTime().GetSeconds()))
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []*tandemv1.ListEventsRequest{{Level: "error"}, {Node: "nobody"}, {JobId: "nothing"}, {Limit: -1}} {
		if _, err := eventPage(s.View(), bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// TestPagesOfEvents: page by page, from the newest on, every event that is wanted is in one page, and the last page has no token.
func TestPagesOfEvents(t *testing.T) {
	s := state.New()
	tx := s.Begin()
	tx.SetIndex(1)
	for i := range 10 {
		e := &tandemv1.Event{Id: fmt.Sprintf("%020d.000", i), Type: tandemv1.Event_TYPE_JOB_STARTED, Level: "info", Args: map[string]string{"n": fmt.Sprint(i)}}
		if i%3 == 1 {
			e.Level = "warning"
		}
		tx.Put(e)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for want, req := range map[string]*tandemv1.ListEventsRequest{
		"6 7 8 9|2 3 4 5|0 1": {Limit: 4},
		"5 6 7 8 9|0 1 2 3 4": {Limit: 5},
		"4 7|1":               {Limit: 2, Level: "warning"},
		"8 9|6 7":             {Limit: 2, After: fmt.Sprintf("%020d.000", 5)},
		"0 1 2 3 4 5 6 7 8 9": {},
	} {
		var pages []string
		for req.PageToken != "" || len(pages) == 0 {
			res, err := eventPage(s.View(), req)
			if err != nil || len(pages) > 10 {
				t.Fatal(err, pages)
			}
			var of []string
			for _, e := range res.GetEvents() {
				of = append(of, e.GetArgs()["n"])
			}
			pages, req.PageToken = append(pages, strings.Join(of, " ")), res.GetNextPageToken()
		}
		if diff := cmp.Diff(want, strings.Join(pages, "|")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", req, diff)
		}
	}
}

// TestPage: a page ends at its limit, or when it is large, and never before its first row.
func TestPage(t *testing.T) {
	large := &tandemv1.Event{Message: strings.Repeat("x", lists.MaxBytes)}
	for name, tc := range map[string]struct {
		rows  []*tandemv1.Event
		limit int
		want  int
		more  bool
	}{
		"none":        {nil, 3, 0, false},
		"all":         {[]*tandemv1.Event{{}, {}, {}}, 3, 3, false},
		"limit":       {[]*tandemv1.Event{{}, {}, {}, {}}, 3, 3, true},
		"large first": {[]*tandemv1.Event{large, large}, 3, 1, true},
		"large last":  {[]*tandemv1.Event{{}, {}, large}, 3, 3, false},
	} {
		if got, more := lists.First(tc.rows, tc.limit); len(got) != tc.want || more != tc.more {
			t.Errorf("%s: %d rows, more %t", name, len(got), more)
		}
	}
}
