package leader

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
)

func TestRetentionSaysWhy(t *testing.T) {
	w := fsmtest.New(t)
	j, tr := fsmtest.Job("j", 1)
	tr.LatestCheckpointId = "c2"
	w.Put(j, tr)
	for i, acc := range []float64{.5, .9, .7, .8, .6} {
		w.Put(&tandemv1.Checkpoint{
			Id: fmt.Sprint("c", i), JobId: "j", TrialId: "jt", Step: int64(i), Metrics: map[string]float64{"accuracy": acc},
			CreatedAt: timestamppb.New(fsmtest.T0.Add(time.Duration(i) * time.Second)), Deleting: i == 3,
		})
	}
	var got []string
	for _, r := range w.S.View().Retention("j") {
		got = append(got, fmt.Sprint(r.GetCheckpoint().GetId(), " ", r.GetKeep(), " ", say.Clause(r.GetWhy(), say.CLI)))
	}
	want := []string{
		"c0 false neither among the best nor among the newest that checkpoint.keep says",
		"c1 true the best by accuracy",
		"c2 true number 2 of the newest",
		"c3 false it is being deleted",
		"c4 true the newest",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if other := w.S.View().Retention("other"); len(other) != 0 {
		t.Errorf("of another job: %v", other)
	}
}

// What given-up uploads left is deleted when it is old and of a generation that is over, and nothing else.
func TestSweep(t *testing.T) {
	w := fsmtest.New(t)
	j, tr := fsmtest.Job("j", 1)
	tr.Generation, tr.State = 3, tandemv1.TrialState_TRIAL_STATE_RUNNING
	w.Put(j, tr)
	now := fsmtest.T0
	s := memstore.New(memstore.Config{Now: func() time.Time { return now }})
	left := func(step, generation int64) {
		s.Overwrite(layout.Checkpoint("trials/jt/ckpt", step, generation)+"/shard-00001-0123456789abcdef.safetensors", []byte("x"))
		s.Overwrite(layout.Checkpoint("trials/jt/ckpt", step, generation)+"/rank-00001.json", []byte("x"))
	}
	left(10, 1)
	left(20, 2)
	left(30, 3)
	committed := layout.Checkpoint("trials/jt/ckpt", 15, 1)
	s.Overwrite(committed+"/manifest.json", []byte("x"))
	now = now.Add(fsm.UploadLimit)
	left(25, 2)
	now = now.Add(time.Second)
	run := func() string {
		c := &collector{s: w.S, p: w, store: func() (storage.Store, error) { return s, nil }, log: zerolog.Nop()}
		if err := c.deleteAbandoned(t.Context(), w.S.View().Trials(), now); err != nil {
			t.Fatal(err)
		}
		return strings.Join(s.Keys(), "\n")
	}
	keys := run()
	for _, gone := range []string{"10-g1", "20-g2"} {
		if strings.Contains(keys, gone) {
			t.Errorf("%s is left", gone)
		}
	}
	for _, stays := range []string{"15-g1/manifest", "25-g2", "30-g3"} {
		if !strings.Contains(keys, stays) {
			t.Errorf("%s is gone", stays)
		}
	}
	tr.State = tandemv1.TrialState_TRIAL_STATE_COMPLETED
	w.Put(tr)
	if keys := run(); strings.Contains(keys, "30-g3") || !strings.Contains(keys, "15-g1/manifest") {
		t.Errorf("after the end there is\n%s", keys)
	}
}

// TestUploadsThatWereNotCommittedAreDeleted: those that no client can be at any more, and nothing else.
func TestUploadsThatWereNotCommittedAreDeleted(t *testing.T) {
	w := fsmtest.New(t)
	now := fsmtest.T0
	s := memstore.New(memstore.Config{Now: func() time.Time { return now }})
	s.Overwrite(layout.Upload("data-1")+"/train-00000.arrow", []byte("x"))
	s.Overwrite(layout.Dataset("data-2", "ab")+"/train-00000.arrow", []byte("x"))
	s.Overwrite(layout.Artifact("ab"), []byte("x"))
	now = now.Add(time.Second)
	s.Overwrite(layout.Upload("data-3")+"/train-00000.arrow", []byte("x"))
	c := &collector{s: w.S, p: w, store: func() (storage.Store, error) { return s, nil }, log: zerolog.Nop()}
	if _, err := c.pass(t.Context(), w.S.View(), fsmtest.T0.Add(fsm.UploadLimit)); err != nil {
		t.Fatal(err)
	}
	want := []string{"artifacts/ab", "datasets/data-2/ab/train-00000.arrow", "uploads/data-3/train-00000.arrow"}
	if diff := cmp.Diff(want, s.Keys()); diff != "" {
		t.Errorf("there is (-want +got):\n%s", diff)
	}
}
