package train_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func spec(change ...func(*tandemv1.JobSpec)) *tandemv1.JobSpec {
	s := &tandemv1.JobSpec{Training: &tandemv1.TrainingSpec{
		Batch: 8, Epochs: 4, Seed: 3,
		Optimizer: &tandemv1.OptimizerSpec{Name: "sgd", Lr: 0.05, WeightDecay: proto.Float64(0)},
		Schedule:  &tandemv1.ScheduleSpec{Name: "cosine", WarmupSteps: 5},
	}}
	for _, c := range change {
		c(s)
	}
	return s
}

func memory() *memstore.Store { return memstore.New(memstore.Config{}) }

func TestTrains(t *testing.T) {
	end := site{t: t, spec: spec(), store: memory(), world: 1}.run()[0]
	if end.err != nil || end.outcome != train.Finished {
		t.Fatalf("outcome %v, error %v", end.outcome, end.err)
	}
	// 50 rows in batches of 8: 7 steps an epoch, each ends with an evaluation and a checkpoint.
	var steps, kept []int64
	for _, e := range end.news.evaluations() {
		steps = append(steps, e.Step)
	}
	for _, c := range end.news.checkpoints() {
		kept = append(kept, c.Step)
		if c.Metrics["loss"] == 0 || c.Bytes == 0 || len(c.ManifestSha256) != 64 || c.Prefix == "" {
			t.Errorf("checkpoint without metrics, size, hash or prefix: %v", c)
		}
	}
	want := []int64{7, 14, 21, 28}
	if !slices.Equal(steps, want) || !slices.Equal(kept, want) {
		t.Errorf("evaluated at %v and kept %v, want %v", steps, kept, want)
	}
	first, last := end.news.evaluations()[0], end.news.evaluations()[3]
	if last.Metrics["loss"] >= first.Metrics["loss"] || last.Metrics["accuracy"] < 0.6 {
		t.Errorf("it did not learn: %v, then %v", first.Metrics, last.Metrics)
	}
	p := end.news.progress[len(end.news.progress)-1]
	if p.Step != 28 || p.TotalSteps != 28 || p.SamplesPerSecond <= 0 || p.Loss <= 0 || p.EtaSeconds != 0 || p.Epoch != 4 {
		t.Errorf("last progress is %v", p)
	}
}

func TestRanksEqualOne(t *testing.T) {
	one := site{t: t, spec: spec(), store: memory(), world: 1}.run()[0]
	for _, world := range []int{2, 3, 11} { // 11 ranks share batches of 8 and 2
		ends := site{t: t, spec: spec(), store: memory(), world: world}.run()
		for rank, end := range ends {
			if end.err != nil {
				t.Fatalf("rank %d of %d: %v", rank, world, end.err)
			}
			if !slices.Equal(end.model.w, ends[0].model.w) {
				t.Errorf("rank %d of %d has other parameters than rank 0", rank, world)
			}
		}
		for i, w := range one.model.w {
			if math.Abs(w-ends[0].model.w[i]) > 1e-12 {
				t.Errorf("%d ranks: parameter %d is %v, one rank has %v", world, i, ends[0].model.w[i], w)
			}
		}
		if diff := cmp.Diff(metricsOf(one), metricsOf(ends[0]), near(1e-12)); diff != "" {
			t.Errorf("%d ranks measure something else (-one +many):\n%s", world, diff)
		}
	}
}

func near(tolerance float64) cmp.Option {
	return cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= tolerance })
}

func metricsOf(e ending) (all []map[string]float64) {
	for _, ev := range e.news.evaluations() {
		all = append(all, ev.Metrics)
	}
	return all
}

func TestResumeEqualsUninterrupted(t *testing.T) {
	every := spec(func(s *tandemv1.JobSpec) { s.Checkpoint = &tandemv1.CheckpointSpec{EverySteps: 3} })
	store := memory()
	whole := site{t: t, spec: every, store: store, world: 1, dropout: 0.1, generation: 1}.run()[0]
	kept := whole.news.checkpoints()
	if len(kept) < 10 {
		t.Fatalf("only %d checkpoints", len(kept))
	}
	for _, from := range kept {
		// Parameters are overwritten before, so that nothing but the checkpoint helps.
		end := site{t: t, spec: every, store: store, world: 1, dropout: 0.1, generation: 1 + from.Step, resume: from,
			change: func(_ int, _ *train.Config, _ *train.Deps, s *softmax) {
				for i := range s.w {
					s.w[i], s.momentum[i] = 7, 7
				}
			}}.run()[0]
		if end.err != nil {
			t.Fatalf("resume from step %d: %v", from.Step, end.err)
		}
		if !slices.Equal(end.model.w, whole.model.w) || !slices.Equal(end.model.momentum, whole.model.momentum) {
			t.Errorf("resumed from step %d it ends elsewhere: %v, undisturbed %v", from.Step, end.model.w, whole.model.w)
		}
		rest := metricsOf(whole)[len(metricsOf(whole))-len(metricsOf(end)):]
		if diff := cmp.Diff(rest, metricsOf(end)); len(rest) > 0 && diff != "" {
			t.Errorf("resumed from step %d it measures something else (-undisturbed +resumed):\n%s", from.Step, diff)
		}
	}
}

func TestStopIsAtTheSameStepAndLosesNothing(t *testing.T) {
	store := memory()
	whole := site{t: t, spec: spec(), store: memory(), world: 3, dropout: 0.1, generation: 1}.run()
	var asked *train.Loop // only one rank is
	ends := site{t: t, spec: spec(), store: store, world: 3, dropout: 0.1, generation: 1, change: func(rank int, _ *train.Config, d *train.Deps, _ *softmax) {
		if rank == 2 {
			d.Trainer = &alarm{Trainer: d.Trainer, at: 9, ring: func() { asked.Stop() }}
		}
	}, joined: func(rank int, l *train.Loop) {
		if rank == 2 {
			asked = l
		}
	}}.run()
	for rank, end := range ends {
		if end.err != nil || end.outcome != train.Stopped {
			t.Fatalf("rank %d: outcome %v, error %v", rank, end.outcome, end.err)
		}
	}
	kept := ends[0].news.checkpoints()
	last := kept[len(kept)-1]
	if last.Step < 9 || last.Step >= 28 {
		t.Fatalf("stopped at step %d", last.Step)
	}
	ends = site{t: t, spec: spec(), store: store, world: 3, dropout: 0.1, generation: 2, resume: last}.run()
	if ends[0].err != nil || !slices.Equal(ends[0].model.w, whole[0].model.w) {
		t.Errorf("stopped at step %d and resumed it ends elsewhere (error %v)", last.Step, ends[0].err)
	}
}

// alarm rings when a step is done.
type alarm struct {
	train.Trainer
	at, done int
	ring     func()
}

func (a *alarm) Step(in train.StepInput) (train.StepResult, error) {
	if a.done++; a.done == a.at {
		a.ring()
	}
	return a.Trainer.Step(in)
}

// A row may cost infinitely much while its gradient is finite: one the model gives a probability of zero.
func TestInfiniteLossStopsAllRanks(t *testing.T) {
	for _, loss := range []float64{math.Inf(1), math.NaN()} {
		ends := site{t: t, spec: spec(), store: memory(), world: 2, change: func(rank int, _ *train.Config, d *train.Deps, _ *softmax) {
			d.Now = func() time.Time { return time.Unix(0, 0) } // so that the beat alone would sync at 7 and 15
			if rank == 1 {                                      // one rank alone sees it
				d.Trainer = &lossAt{Trainer: d.Trainer, at: 13, loss: loss}
			}
		}}.run()
		for rank, end := range ends {
			if !train.IsPermanent(end.err) {
				t.Fatalf("rank %d: %v is not permanent", rank, end.err)
			}
			for _, want := range []string{"step 14", "learning rate", "loss " + fmt.Sprint(loss), "training.optimizer.lr"} {
				if !strings.Contains(end.err.Error(), want) {
					t.Errorf("rank %d: %q does not say %q", rank, end.err, want)
				}
			}
			// Step 14 ends an epoch: neither an evaluation nor a checkpoint comes of it.
			for _, e := range end.news.evaluations() {
				if e.Step != 7 {
					t.Errorf("rank %d evaluated step %d", rank, e.Step)
				}
			}
			for _, c := range end.news.checkpoints() {
				if c.Step != 7 {
					t.Errorf("rank %d kept step %d", rank, c.Step)
				}
			}
		}
	}
}

// lossAt replaces the loss of one step.
type lossAt struct {
	train.Trainer
	at, done int
	loss     float64
}

func (l *lossAt) Step(in train.StepInput) (train.StepResult, error) {
	res, err := l.Trainer.Step(in)
	if l.done++; l.done == l.at {
		res.LossSum = l.loss
	}
	return res, err
}

func TestLostPeerIsNotPermanent(t *testing.T) {
	ends := site{t: t, spec: spec(), store: memory(), world: 2, change: func(rank int, _ *train.Config, d *train.Deps, s *softmax) {
		if rank == 1 {
			d.Trainer = &alarm{Trainer: d.Trainer, at: 5, ring: s.group.(member).ring.lose}
		}
	}}.run()
	for rank, end := range ends {
		if !errors.Is(end.err, train.ErrPeerLost) || train.IsPermanent(end.err) {
			t.Errorf("rank %d ended with %v", rank, end.err)
		}
	}
}

func TestFinalCheckpointIsWaitedFor(t *testing.T) {
	denied := memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault {
		return memstore.Fault{Err: storage.ErrDenied}
	}})
	end := site{t: t, spec: spec(), store: denied, world: 1}.run()[0]
	if !errors.Is(end.err, storage.ErrDenied) || train.IsPermanent(end.err) {
		t.Errorf("a training whose last checkpoint could not be kept ended with %v, %v", end.outcome, end.err)
	}
	if len(end.news.checkpoints()) != 0 {
		t.Errorf("checkpoints were reported that do not exist")
	}
}

// Training goes on without the store; its end waits for it, and says so.
func TestEndWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(time.Hour)
		away := memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault {
			if time.Now().Before(back) {
				return memstore.Fault{Err: storage.ErrUnavailable}
			}
			return memstore.Fault{}
		}})
		ends := site{t: t, spec: spec(), store: away, world: 2}.run()
		for rank, end := range ends {
			if end.err != nil || end.outcome != train.Finished {
				t.Fatalf("rank %d: outcome %v, error %v", rank, end.outcome, end.err)
			}
		}
		news := ends[0].news
		if kept := news.checkpoints(); len(kept) != 2 || kept[0].Step != 7 || kept[1].Step != 28 {
			t.Errorf("kept %v, want the best and the last", kept)
		}
		if n := len(news.evaluations()); n != 4 {
			t.Errorf("%d evaluations", n)
		}
		if p := news.progress[len(news.progress)-1]; p.Step != 28 || p.Phase != train.PhaseStorage {
			t.Errorf("last progress is %v", p)
		}
	})
}

func TestNoValidationSplit(t *testing.T) {
	end := site{t: t, spec: spec(), store: memory(), world: 1, change: func(_ int, _ *train.Config, d *train.Deps, _ *softmax) {
		d.Validation = data.NewSlices(blobs("validation", 0, 2))
	}}.run()[0]
	if end.err != nil || len(end.news.evaluations()) != 0 || len(end.news.checkpoints()) != 4 {
		t.Errorf("error %v, %d evaluations, %d checkpoints", end.err, len(end.news.evaluations()), len(end.news.checkpoints()))
	}
}

func TestProgressIsAboutTwiceASecond(t *testing.T) {
	// Each look at the clock takes a millisecond: a training of about a minute.
	now := time.Unix(0, 0)
	long := spec(func(s *tandemv1.JobSpec) {
		s.Training.Epochs = 2000
		s.Evaluate = &tandemv1.EvaluateSpec{EverySteps: 4000}
	})
	end := site{t: t, spec: long, store: memory(), world: 1, change: func(_ int, _ *train.Config, d *train.Deps, _ *softmax) {
		d.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
	}}.run()[0]
	if end.err != nil {
		t.Fatal(end.err)
	}
	seconds := now.Sub(time.Unix(0, 0)).Seconds()
	rate := float64(len(end.news.progress)) / seconds
	if rate < 1 || rate > 2.5 {
		t.Errorf("%d times in %.0f s", len(end.news.progress), seconds)
	}
}

// The update is that of the mean over the global batch, the short last one of an epoch too.
func TestLossScaleIsThatOfTheMean(t *testing.T) {
	const world = 3
	var scales [world][]float64
	var rows [world][]int
	ends := site{t: t, spec: spec(), store: memory(), world: world, change: func(rank int, _ *train.Config, d *train.Deps, _ *softmax) {
		d.Trainer = tap{d.Trainer, func(in train.StepInput) {
			scales[rank] = append(scales[rank], in.LossScale)
			rows[rank] = append(rows[rank], in.Batch.Rows)
		}}
	}}.run()
	if ends[0].err != nil {
		t.Fatal(ends[0].err)
	}
	for step := range scales[0] {
		total := 0
		for rank := range world {
			total += rows[rank][step]
		}
		if want := 8; step%7 != 6 && total != want || step%7 == 6 && total != 2 {
			t.Errorf("step %d has %d rows", step, total)
		}
		for rank := range world {
			if got := scales[rank][step] / world; got != 1/float64(total) {
				t.Errorf("step %d, rank %d: a row weighs %v of %d rows", step, rank, got, total)
			}
		}
	}
}

// tap sees what a Trainer is given.
type tap struct {
	train.Trainer
	see func(train.StepInput)
}

func (p tap) Step(in train.StepInput) (train.StepResult, error) {
	p.see(in)
	return p.Trainer.Step(in)
}

func TestStopAtTheLastStepIsTheEnd(t *testing.T) {
	var asked *train.Loop
	end := site{t: t, spec: spec(), store: memory(), world: 1, change: func(_ int, _ *train.Config, d *train.Deps, _ *softmax) {
		d.Trainer = &alarm{Trainer: d.Trainer, at: 28, ring: func() { asked.Stop() }}
	}, joined: func(_ int, l *train.Loop) { asked = l }}.run()[0]
	if end.err != nil || end.outcome != train.Finished {
		t.Errorf("outcome %v, error %v; nothing is left to resume", end.outcome, end.err)
	}
}
