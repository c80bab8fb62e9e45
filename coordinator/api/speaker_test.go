package api

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tandem.dev/coordinator/board"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestWhoWaitsForTheStore: a job and a trial whose engine waits for the store say so, and what is wrong with it; with slots to wait for,
// or when it goes on, they say something else.
func TestWhoWaitsForTheStore(t *testing.T) {
	s := state.New()
	fault := &tandemv1.Reason{Code: tandemv1.Reason_CODE_STORE_FULL}
	job := &tandemv1.Job{Id: "job-1", State: tandemv1.JobState_JOB_STATE_RUNNING, TrialIds: []string{"trial-1"}}
	trial := &tandemv1.Trial{Id: "trial-1", JobId: "job-1", State: tandemv1.TrialState_TRIAL_STATE_RUNNING, Generation: 2}
	tx := s.Begin()
	tx.SetIndex(1)
	tx.Put(&tandemv1.Cluster{Id: "cluster-1", StoreFault: fault})
	tx.Put(job)
	tx.Put(trial)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var slots map[string]*tandemv1.Reason
	heard := board.New()
	is := func(when string, want *tandemv1.Reason) {
		t.Helper()
		a := &API{deps: Deps{State: s, Board: heard, Explain: func(*state.View, time.Time) map[string]*tandemv1.Reason { return slots }}}
		for what, got := range map[string]*tandemv1.Reason{"job": a.why(s.View(), job), "trial": a.why(s.View(), trial)} {
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s, %s: %s", when, what, diff)
			}
		}
	}
	progress := func(generation int64, phase string) {
		heard.Put([]*tandemv1.Progress{{TrialId: "trial-1", Generation: generation, Phase: phase}}, false)
	}
	is("without progress", nil)
	progress(2, "waiting for storage")
	is("it waits", &tandemv1.Reason{Code: tandemv1.Reason_CODE_WAITS_FOR_STORE, Cause: fault})
	slots = map[string]*tandemv1.Reason{"trial-1": {Code: tandemv1.Reason_CODE_REPLACING}}
	is("it waits for slots too", slots["trial-1"])
	slots = nil
	progress(2, "training")
	is("it trains", nil)
}
