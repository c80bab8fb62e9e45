package engine

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/metric"
)

// again does steps after a checkpoint of a training again and returns what rank 0 says of it, or why it failed.
func (j training) again(t *testing.T, from *tandemv1.Checkpoint, steps int64) (*tandemv1.ReplayOutcome, string) {
	t.Helper()
	r := j
	r.trial, r.generation, r.resume = j.trial+"-again", 1, from
	r.spec = proto.Clone(j.spec).(*tandemv1.JobSpec)
	r.spec.Kind, r.spec.Replay = "replay", &tandemv1.ReplaySpec{CheckpointId: "ckpt-1", Steps: steps}
	a := newAgent(t)
	var ranks []*process
	for rank := range int(r.spec.GetResources().GetWorkers()) {
		task := r.task(t, rank)
		task.GetTrain().Replay = &tandemv1.ReplayTask{TrialId: j.trial, SpecHash: j.hash()}
		ranks = append(ranks, a.start(task))
	}
	for rank, p := range ranks {
		if p.wait(t); rank > 0 && a.last("alloc-1/1").GetFinished().GetReplay() != nil {
			t.Error("rank 1 says what the replay found")
		}
	}
	if kept := a.checkpoints("alloc-1/0"); len(kept) > 0 {
		t.Errorf("the replay kept checkpoints: %v", kept)
	}
	for info, err := range shared.store.List(t.Context(), "trials/"+r.trial+"/") {
		t.Errorf("the replay stored %v, %v", info, err)
	}
	last := a.last("alloc-1/0")
	return last.GetFinished().GetReplay(), last.GetFailed().GetMessage()
}

// forge changes the figures that a training recorded.
func (j training) forge(t *testing.T, edit func(*metric.Run)) {
	t.Helper()
	edited := 0
	for info, err := range shared.store.List(t.Context(), layout.Metrics(j.trial, string(metric.Steps))) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := storage.ReadAll(t.Context(), shared.store, info.Key, metric.MaxObject)
		if err != nil {
			t.Fatal(err)
		}
		s, err := metric.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Runs {
			edit(&s.Runs[i])
			edited++
		}
		if b, err = metric.Encode(s); err == nil {
			err = shared.store.Put(t.Context(), info.Key, bytes.NewReader(b), int64(len(b)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if edited == 0 {
		t.Fatal("nothing was recorded")
	}
}

func TestReplay(t *testing.T) {
	for name, text := range map[string]string{"mlp on one rank": mlp, "cnn on two ranks": cnn} {
		t.Run(name, func(t *testing.T) {
			j := training{trial: trial(t, "-"+name[:3]), spec: parse(t, text), generation: 1}
			kept := j.finish(t).checkpoints("alloc-1/0")
			from := kept[0]
			if from.GetStep() >= 20 {
				t.Fatalf("no early checkpoint: %v", kept)
			}
			// No more than the training did.
			if got, failed := j.again(t, from, 1000); !got.GetSame() || got.GetSteps() != 24-from.GetStep() || !strings.Contains(got.GetMessage(), "of 1000 steps") {
				t.Errorf("%v, %s", got, failed)
			}
			j.forge(t, func(r *metric.Run) {
				if i := from.GetStep() + 3 - r.First; i >= 0 && i < int64(len(r.Norm)) {
					r.Norm[i] = math.Nextafter(r.Norm[i], 0)
				}
			})
			if got, failed := j.again(t, from, 5); got == nil || got.GetSame() || got.GetSteps() != 2 || !strings.Contains(got.GetMessage(), "differs from what the training did then") {
				t.Errorf("a bit was changed: %v, %s", got, failed)
			}
		})
	}
}

func TestReplayFindsNothingToCompare(t *testing.T) {
	j := training{trial: trial(t, "-mlp"), spec: parse(t, mlp), generation: 1}
	from := j.finish(t).checkpoints("alloc-1/0")[0]
	j.forge(t, func(r *metric.Run) { r.First += 100 })
	if got, failed := j.again(t, from, 5); got == nil || got.GetSame() || !strings.Contains(got.GetMessage(), "Nothing was compared") {
		t.Errorf("%v, %s", got, failed)
	}
	other := j
	other.spec = parse(t, mlp, "training.seed=6")
	if got, failed := other.again(t, from, 5); got != nil || !strings.Contains(failed, "foreign") {
		t.Errorf("a checkpoint of another seed: %v, %s", got, failed)
	}
	lost := proto.Clone(from).(*tandemv1.Checkpoint)
	lost.Prefix = "trials/" + j.trial + "/ckpt/000000000007-g1"
	if got, failed := j.again(t, lost, 5); got != nil || !strings.Contains(failed, "damaged or gone") {
		t.Errorf("a checkpoint that is gone: %v, %s", got, failed)
	}
}
