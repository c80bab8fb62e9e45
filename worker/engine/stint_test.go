package engine

import (
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestStints trains in parts, as a search lets it: each ends with an evaluation, a checkpoint and the word that it has reached
// its share, and the last ends like a training that was never stopped, bit for bit. Another trial begins from its state.
func TestStints(t *testing.T) {
	j := training{trial: trial(t, "-whole"), spec: parse(t, cnn, "evaluate.every_steps=100"), generation: 1}
	_, want := final(t, j.finish(t), "alloc-1/0")

	j.trial = trial(t, "-parts")
	for i, part := range []struct {
		until float64
		step  int64
	}{{1.0 / 3, 8}, {0.7, 17}, {1, 24}} {
		j.generation = int64(i + 1)
		a := newAgent(t)
		var ranks []*process
		for rank := range 2 {
			task := j.task(t, rank)
			task.GetTrain().Until = part.until
			ranks = append(ranks, a.start(task))
		}
		for rank, p := range ranks {
			if code := p.wait(t); code != 0 {
				t.Fatalf("rank %d ended with code %d", rank, code)
			}
		}
		zero := j.task(t, 0).GetId()
		last := a.last(zero)
		if reached := last.GetStopped().GetReached() && last.GetStopped().GetStep() == part.step; reached != (part.until < 1) {
			t.Errorf("until %v the last word is %v", part.until, last)
		}
		var measured []int64
		a.mu.Lock()
		for _, r := range a.reports[zero] {
			if e := r.GetEvaluation(); e != nil {
				measured = append(measured, e.GetStep())
			}
		}
		a.mu.Unlock()
		if len(measured) != 1 || measured[0] != part.step {
			t.Errorf("until %v it measured at %v", part.until, measured)
		}
		checkpoint, tensors := final(t, a, zero)
		if checkpoint.GetStep() != part.step || len(checkpoint.GetMetrics()) == 0 {
			t.Errorf("until %v it kept %v", part.until, checkpoint)
		}
		if part.until == 1 {
			same(t, tensors, want)
		}
		j.resume = checkpoint
		if i == 0 {
			j.resume.TrialId = j.trial
			other := j
			other.trial, other.spec, other.generation = trial(t, "-other"), parse(t, cnn, "training.optimizer.lr=0.01"), 1
			if first := other.finish(t).checkpoints("alloc-1/0")[0]; first.GetStep() <= part.step {
				t.Errorf("a trial that begins from another's state kept step %d: it began anew", first.GetStep())
			}
		}
	}
}

// TestNextTask trains in processes that have trained before: it ends as in processes of its own, bit for bit, also when the model,
// the optimizer and the batch were others.
func TestNextTask(t *testing.T) {
	j := training{trial: trial(t, "-own"), spec: parse(t, cnn), generation: 2}
	_, want := final(t, j.finish(t), "alloc-2/0")

	a := newAgent(t)
	before := training{trial: trial(t, "-before"), spec: parse(t, resnet), generation: 1}
	j.trial = trial(t, "-after")
	a.next = map[string]*tandemv1.EngineTask{}
	var ranks []*process
	for rank := range 2 {
		first, second := before.task(t, rank), j.task(t, rank)
		first.GetTrain().InSweep = true
		a.next[first.GetId()] = second
		ranks = append(ranks, a.start(first))
	}
	for rank, p := range ranks {
		if code := p.wait(t); code != 0 {
			t.Fatalf("rank %d ended with code %d", rank, code)
		}
	}
	if first := a.last("alloc-1/0"); first.GetFinished() == nil {
		t.Errorf("the first task ended with %v", first)
	}
	_, got := final(t, a, "alloc-2/0")
	same(t, got, want)
}
