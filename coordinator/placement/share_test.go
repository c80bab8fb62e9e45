package placement

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestRecent: a slot that was held always is 1; of what was given back half is left after a half-life; who holds one still has more of it
// the longer it does.
func TestRecent(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	s := state.New()
	tx := s.Begin()
	put := func(day time.Time, project string, held time.Duration) {
		u := &tandemv1.Usage{Day: state.DayOf(day), Pool: "default", Project: project, User: "ann", SlotMilliseconds: held.Milliseconds()}
		u.Id = state.UsageID(u)
		tx.Put(u)
	}
	for day := range 90 {
		put(now.AddDate(0, 0, -1-day), "always", 24*time.Hour)
	}
	put(now, "always", 12*time.Hour)
	put(now.AddDate(0, 0, -1), "late", 24*time.Hour)
	put(now.AddDate(0, 0, -8), "early", 24*time.Hour)
	pool := "default"
	tx.Put(&tandemv1.Job{Id: "job-1", Project: "holds", Pool: &pool})
	tx.Put(&tandemv1.Allocation{Id: "alloc-1", JobId: "job-1", Members: []*tandemv1.Member{
		{Number: 0, NodeId: "a", SlotId: "cpu0", AddedAt: timestamppb.New(now.Add(-halfLife))}, {Number: 1, NodeId: "a", SlotId: "cpu1", AddedAt: timestamppb.New(now)},
	}})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for of, slots := range recent(s.View(), now) {
		got[of.project] = math.Round(slots*100) / 100
	}
	want := map[string]float64{"always": 1, "late": 0.09, "early": 0.04, "holds": 0.5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("projects held other slots lately: %s", diff)
	}
}
