package api

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestWaitingHidesOtherProjects: who waits is told what for, and of jobs of other projects neither name nor id.
func TestWaitingHidesOtherProjects(t *testing.T) {
	s := state.New()
	tx := s.Begin()
	tx.SetIndex(1)
	tx.Put(&tandemv1.Job{Id: "job-1", Name: "mine", Project: "speech"})
	tx.Put(&tandemv1.Job{Id: "job-2", Name: "secret", Project: "vision"})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	behind := func(first, name string) *tandemv1.Reason {
		return state.NewReason(tandemv1.Reason_CODE_BEHIND, "first", first, "first_name", name)
	}
	said := func() *tandemv1.Outlook {
		return &tandemv1.Outlook{
			Ahead: []string{"secret", "mine"}, Why: behind("job-2", "secret"), Frees: []*tandemv1.Freed{{JobId: "job-1", Job: "mine"}, {JobId: "job-2", Job: "secret"}},
			Changes: []*tandemv1.StartChange{{Workers: 1, Frees: []*tandemv1.Freed{{JobId: "job-2", Job: "secret", Slots: 3}}}},
		}
	}
	a := &API{deps: Deps{Outlook: func(v *state.View, _ *tandemv1.Job, _ *tandemv1.Trial, _ time.Time) *tandemv1.Outlook {
		if len(v.Jobs()) != 2 {
			t.Error("it is not worked out from all that waits")
		}
		return said()
	}}}
	outlook := func(project string) *tandemv1.Outlook {
		ctx := context.WithValue(t.Context(), principalKey{}, Principal{Project: project})
		return a.outlook(ctx, s.View().In(project), &tandemv1.Job{Project: "speech"}, nil)
	}
	want := said()
	want.Ahead[0], want.Why = another, &tandemv1.Reason{Code: tandemv1.Reason_CODE_BEHIND, Args: map[string]string{"first_name": another}}
	want.Frees[1] = &tandemv1.Freed{Job: another}
	want.Changes[0].Frees[0] = &tandemv1.Freed{Job: another, Slots: 3}
	if diff := cmp.Diff(want, outlook("speech"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(said(), outlook(state.AllProjects), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got := hidden(s.View().In("speech"), behind("job-1", "mine")); got.GetArgs()["first_name"] != "mine" {
		t.Errorf("the name of a job of the project is hidden: %v", got)
	}
}
