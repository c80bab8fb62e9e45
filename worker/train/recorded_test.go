package train_test

import (
	"testing"
	"time"

	"tandem.dev/storage/memstore"
	"tandem.dev/storage/metric"
	"tandem.dev/worker/train"
)

// TestLoopIsRecorded: the records of a training tile its time, have each step once, with the loss of rank 0's rows, and know what
// the loop did besides.
func TestLoopIsRecorded(t *testing.T) {
	spec := spec()
	spec.Training.Epochs, spec.Training.Steps = 0, 30
	recorders := make([]*train.Recorder, 2)
	begin := time.Now()
	for rank, end := range (site{t: t, spec: spec, store: memstore.New(memstore.Config{}), world: 2, generation: 4, change: func(rank int, _ *train.Config, d *train.Deps, _ *softmax) {
		recorders[rank] = train.NewRecorder(train.RecorderConfig{Trial: "trial-1", Member: "m"}, begin)
		d.Record = recorders[rank]
	}}).run() {
		if end.err != nil || end.outcome != train.Finished {
			t.Fatalf("rank %d: %v %v", rank, end.outcome, end.err)
		}
	}
	for rank, r := range recorders {
		now := time.Now()
		until := begin.UnixNano() + int64(now.Sub(begin)) // by the monotonic clock
		var times metric.Times
		at, steps, evaluations, exact, traced, loss := begin.UnixNano(), int64(0), 0, 0, map[int64]bool{}, 0
		for _, s := range r.Take(now, time.Second, true) {
			if _, err := metric.Encode(s); err != nil {
				t.Fatal(err)
			}
			for _, b := range s.Beats {
				if b.From != at || b.First != steps && s.Generation == 4 {
					t.Errorf("rank %d: a beat of steps %d to %d begins %d ns after the one before", rank, b.First, b.Step, b.From-at)
				}
				if b.Loss != nil {
					loss++
				}
				at, steps = b.To(), b.Step
				times.Add(b.Times)
			}
			evaluations += len(s.Evaluations)
			for _, run := range s.Runs {
				exact += len(run.Loss)
			}
			for _, p := range s.Spans {
				traced[p.Step] = true
			}
		}
		if at != until || steps != 30 || loss == 0 || len(traced) < 20 {
			t.Errorf("rank %d: %d ns are missing, %d steps, %d losses, %d traced", rank, until-at, steps, loss, len(traced))
		}
		if first := rank == 0; (evaluations > 0) != first || (exact == 30) != first {
			t.Errorf("rank %d: %d evaluations, %d exact steps", rank, evaluations, exact)
		}
		for _, c := range []metric.Category{metric.Starting, metric.Evaluate, metric.Checkpoint, metric.Communication, metric.Other} {
			if times[c] == 0 {
				t.Errorf("rank %d: no time is %s: %v", rank, c, times)
			}
		}
	}
}
