package fsm_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestGroupsOfTheFirstRelease: what a snapshot of the first release knows of process groups is known after it was restored, and is
// written in the form of today from then on.
func TestGroupsOfTheFirstRelease(t *testing.T) {
	at := func(second int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: second} }
	allocs := []*tandemv1.Allocation{
		{Id: "alloc-1", FormedStep: -1},
		{Id: "alloc-2", FormedStep: -1, CommittedAt: at(5), WorldSize: 2, Planned: true, Relay: true},
		{Id: "alloc-3", FormedStep: 7, FormedAt: at(6), CommittedAt: at(5), WorldSize: 3},
		{Id: "alloc-4", FormedStep: 7, FormedAt: at(6), CommittedAt: at(5), WorldSize: 3, Broken: true, BrokenAt: at(9), Hung: true},
	}
	want := []*tandemv1.Allocation{
		{Id: "alloc-1"},
		{Id: "alloc-2", Group: &tandemv1.Group{CommittedAt: at(5), WorldSize: 2, Planned: true, Relay: true}},
		{Id: "alloc-3", Group: &tandemv1.Group{FormedAt: at(6), CommittedAt: at(5), WorldSize: 3}},
		{Id: "alloc-4", Group: &tandemv1.Group{FormedAt: at(6), CommittedAt: at(5), WorldSize: 3, BrokenAt: at(9), Hung: true}},
	}
	all := []*tandemv1.SnapshotRecord{{Record: &tandemv1.SnapshotRecord_Header{Header: &tandemv1.SnapshotHeader{Format: 1, Index: 9}}}}
	for _, a := range allocs {
		all = append(all, &tandemv1.SnapshotRecord{Record: &tandemv1.SnapshotRecord_Allocation{Allocation: a}})
	}
	all = append(all, &tandemv1.SnapshotRecord{Record: &tandemv1.SnapshotRecord_End{End: &tandemv1.SnapshotEnd{Records: int64(len(all))}}})
	s := state.New()
	if err := format.Restore(s, bytes.NewReader(joined(t, all...))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.View().Allocations(), protocmp.Transform()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	again := state.New()
	if err := format.Restore(again, bytes.NewReader(snapshotOf(t, s))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.View().Allocations(), protocmp.Transform()); diff != "" {
		t.Errorf("restored from a snapshot of today (-want +got):\n%s", diff)
	}
	type group struct{ has, works, formed, broken bool }
	forming, formed, broken := group{has: true, works: true}, group{has: true, works: true, formed: true}, group{has: true, formed: true, broken: true}
	for i, want := range []group{{}, forming, formed, broken} {
		a := s.View().Allocations()[i]
		if got := (group{state.HasGroup(a), state.GroupWorks(a), state.GroupFormed(a), state.GroupBroken(a)}); got != want {
			t.Errorf("%v: %+v, want %+v", a, got, want)
		}
	}
}
