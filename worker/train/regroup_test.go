package train_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/metric"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

// fleet is a trial whose process groups come and go. Its members live in this process.
type fleet struct {
	t       *testing.T
	plan    train.Plan
	dropout float64
	kept    *shelf
	now     func() time.Time

	mu      sync.Mutex
	ledger  map[int64][]line // by step
	numbers int
	relay   bool // groups only hand the state on
}

// line is what one rank brought to a step that it applied.
type line struct {
	generation  int64
	rank, world int
	rows        []int32
}

// worker is one member of a fleet.
type worker struct {
	fleet *fleet
	loop  *train.Loop
	model *softmax
	feed  *data.Feed
	news  *recorder
	fault func(step int, at string) bool // dies there; nil: never
	still atomic.Bool                    // stopped: none of its timers runs
	steps int
}

func newFleet(t *testing.T, spec *tandemv1.JobSpec) *fleet {
	t.Helper()
	plan, err := train.NewPlan(spec, manifest(trainRows))
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{t: t, plan: plan, dropout: 0.1, kept: &shelf{}, now: time.Now, ledger: map[int64][]line{}}
}

// hire returns a new member.
func (f *fleet) hire() *worker {
	f.t.Helper()
	order, err := data.NewOrder(trainRows, f.plan.Batch, f.plan.Seed)
	if err != nil {
		f.t.Fatal(err)
	}
	w := &worker{fleet: f, model: newSoftmax(2, 3, nil, 1), feed: data.NewFeed(blobs("train", trainRows, 1), order), news: &recorder{}}
	f.t.Cleanup(w.feed.Close)
	w.model.dropout = f.dropout
	f.numbers++
	for i := range w.model.w { // its own first weights are of no consequence unless nobody has any
		w.model.w[i] = float64(f.numbers)
	}
	w.loop = train.New(train.Config{Plan: f.plan}, train.Deps{
		Trainer: faulty{w.model, w}, Batches: w.feed, Validation: data.NewSlices(blobs("validation", validRows, 2)), Checkpoints: f.kept,
		Reporter: w.news, Ledger: w, Abort: w.abort, Now: f.now, Log: zerolog.Nop(),
	})
	return w
}

func (w *worker) abort(string) {
	if !w.still.Load() {
		w.model.group.(member).ring.lose()
	}
}

// Applied implements train.Ledger.
func (w *worker) Applied(generation, step int64, rank, world int, share data.Piece) {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	w.fleet.ledger[step] = append(w.fleet.ledger[step], line{generation, rank, world, slices.Clone(share.Index)})
}

var errDead = errors.New("killed")

// faulty is a Trainer whose process may die in a step.
type faulty struct {
	*softmax
	w *worker
}

func (f faulty) Step(in train.StepInput) (train.StepResult, error) {
	f.w.steps++
	die := func(at string) bool { return f.w.fault != nil && f.w.fault(f.w.steps, at) }
	if die("forward") {
		f.group.(member).ring.lose()
		return train.StepResult{}, errDead
	}
	res, err := f.softmax.Step(in)
	if err == nil && die("applied") {
		f.group.(member).ring.lose()
		return res, errDead
	}
	return res, err
}

// shelf keeps checkpoints in memory, on all ranks alike.
type shelf struct {
	mu       sync.Mutex
	manifest *ckpt.Manifest
	tensors  []safetensors.Tensor
}

func (s *shelf) Restore(context.Context, func()) (*ckpt.Manifest, []safetensors.Tensor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifest, s.tensors, nil
}

func (s *shelf) Save(_ context.Context, m ckpt.Manifest, state ckpt.Source, _ bool) error {
	names, _, err := state.StateSizes()
	if err != nil {
		return err
	}
	tensors, err := state.StateOf(names, nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest, s.tensors = &m, tensors
	return nil
}

func (s *shelf) Reserve(ckpt.Source) error { return nil }

func (s *shelf) Busy() bool { return false }
func (s *shelf) Free()      {}

func (s *shelf) Wait(context.Context, func()) error { return nil }

// result is how one member's time in a group ended.
type result struct {
	outcome train.Outcome
	err     error
}

// generation forms a group of the members and trains until each of them is out of it.
func (f *fleet) generation(ctx context.Context, number int64, members ...*worker) []result {
	ring := newRing(len(members))
	results := make([]result, len(members))
	var wg sync.WaitGroup
	for rank, w := range members {
		w.model.group, w.model.world = member{ring, rank}, len(members)
		wg.Go(func() {
			r := &results[rank]
			_, r.err = w.loop.Join(ctx, train.Generation{Number: number, Rank: rank, World: len(members), Group: member{ring, rank}, Relay: f.relay})
			if r.err == nil {
				r.outcome, r.err = w.loop.Train(ctx)
			}
			if r.err != nil {
				ring.lose()
			}
		})
	}
	wg.Wait()
	return results
}

// checkLedger proves that each step used the rows of its batch exactly once, in the last generation that applied it.
func (f *fleet) checkLedger() {
	f.t.Helper()
	order, err := data.NewOrder(trainRows, f.plan.Batch, f.plan.Seed)
	if err != nil {
		f.t.Fatal(err)
	}
	var at data.Cursor
	for step := int64(1); step <= f.plan.Total; step++ {
		want, next, err := order.At(at)
		if err != nil {
			f.t.Fatal(err)
		}
		at = next
		lines := f.ledger[step]
		if len(lines) == 0 {
			f.t.Fatalf("step %d was never applied", step)
		}
		last := slices.MaxFunc(lines, func(a, b line) int { return int(a.generation - b.generation) })
		got := make([][]int32, last.world)
		for _, l := range lines {
			if l.generation == last.generation {
				if l.world != last.world || got[l.rank] != nil {
					f.t.Fatalf("step %d was applied by %v", step, lines)
				}
				got[l.rank] = l.rows
			}
		}
		for rank, rows := range got {
			lo, hi := data.Share(len(want), rank, last.world)
			if rows != nil && !slices.Equal(rows, want[lo:hi]) { // a rank that died before it wrote has brought its share all the same
				f.t.Fatalf("step %d: rank %d of %d used rows %v, want %v", step, rank, last.world, rows, want[lo:hi])
			}
		}
	}
}

// undisturbed trains on world ranks without faults and returns the weights.
func undisturbed(t *testing.T, spec *tandemv1.JobSpec, world int) []float64 {
	t.Helper()
	f := newFleet(t, spec)
	var members []*worker
	for range world {
		members = append(members, f.hire())
	}
	for rank, r := range f.generation(t.Context(), 1, members...) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	f.checkLedger()
	return members[0].model.w
}

// Ranks die at random steps and places; each time one takes the place of the dead, with the state of the living. In the
// end all is as if nothing had been, bit for bit, and no row was left out or used twice.
func TestRanksDieAndAreReplaced(t *testing.T) {
	s := spec(func(s *tandemv1.JobSpec) { s.Evaluate = &tandemv1.EvaluateSpec{EverySteps: 5} })
	const world = 3
	want := undisturbed(t, s, world)
	rapid.Check(t, func(r *rapid.T) {
		f := newFleet(t, s)
		members := []*worker{f.hire(), f.hire(), f.hire()}
		generation, finished := int64(0), false
		for range rapid.IntRange(0, 6).Draw(r, "faults") {
			victim := rapid.IntRange(0, world-1).Draw(r, "victim")
			step, place := rapid.IntRange(1, 8).Draw(r, "step"), rapid.SampledFrom([]string{"forward", "applied"}).Draw(r, "place")
			w := members[victim]
			w.steps, w.fault = 0, func(n int, at string) bool { return n == step && at == place }
			generation++
			results := f.generation(t.Context(), generation, members...)
			if finished = results[victim].outcome == train.Finished; finished {
				break
			}
			if !errors.Is(results[victim].err, errDead) {
				r.Fatalf("the victim ended with %v", results[victim].err)
			}
			for rank, res := range results {
				if rank != victim && !errors.Is(res.err, train.ErrPeerLost) {
					r.Fatalf("rank %d ended with %v, %v", rank, res.outcome, res.err)
				}
			}
			// The living first, then the new one: ranks change their places.
			members = append(slices.Delete(slices.Clone(members), victim, victim+1), f.hire())
		}
		for _, w := range members {
			w.fault = nil
		}
		if !finished {
			for rank, res := range f.generation(t.Context(), generation+1, members...) {
				if res.err != nil || res.outcome != train.Finished {
					r.Fatalf("rank %d: %v, %v", rank, res.outcome, res.err)
				}
			}
		}
		for rank, w := range members {
			if !slices.Equal(w.model.w, want) {
				r.Fatalf("rank %d ends with other weights than an undisturbed training", rank)
			}
		}
		f.checkLedger()
	})
}

// diesAt are validation rows whose reader dies at the first look.
type diesAt struct {
	train.Rows
	w *worker
}

func (d diesAt) Read(context.Context, int, int, func()) (data.Batch, error) {
	d.w.model.group.(member).ring.lose()
	return data.Batch{}, errDead
}

// A rank dies in an evaluation, after a step that all have applied: the others evaluate that step again.
func TestInterruptedEvaluationIsDoneAgain(t *testing.T) {
	f := newFleet(t, spec())
	a, b, c := f.hire(), f.hire(), f.hire()
	b.loop.Validation = diesAt{b.loop.Validation, b}
	f.generation(t.Context(), 1, a, b, c)
	if a.loop.Step() != 7 || len(a.news.evaluations()) != 0 {
		t.Fatalf("step %d, %d evaluations: it was not interrupted", a.loop.Step(), len(a.news.evaluations()))
	}
	for rank, r := range f.generation(t.Context(), 2, a, c, f.hire()) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	var steps []int64
	for _, e := range a.news.evaluations() {
		steps = append(steps, e.GetStep())
	}
	if want := []int64{7, 14, 21, 28}; !slices.Equal(steps, want) {
		t.Errorf("evaluated at %v, want %v", steps, want)
	}
	f.checkLedger()
}

// Shrinking and growing happen at a step boundary, redo nothing, and change the result by no more than rounding.
func TestGroupChangesAsPlanned(t *testing.T) {
	s := spec()
	f := newFleet(t, s)
	f.dropout = 0 // it draws by rank
	a, b, c := f.hire(), f.hire(), f.hire()
	moveAt := func(w *worker, step int) {
		w.steps, w.fault = 0, func(n int, at string) bool {
			if n == step && at == "forward" {
				w.loop.Move() // one rank is asked; all go at the same step
			}
			return false
		}
	}
	moveAt(b, 4)
	first := f.generation(t.Context(), 1, a, b)
	moveAt(c, 9)
	second := f.generation(t.Context(), 2, a, b, c)
	third := f.generation(t.Context(), 3, a, c)
	for i, r := range slices.Concat(first, second) {
		if r.err != nil || r.outcome != train.Regrouped {
			t.Fatalf("rank %d: %v, %v", i, r.outcome, r.err)
		}
	}
	for rank, r := range third {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	worlds := map[int]bool{}
	for step, lines := range f.ledger {
		for _, l := range lines {
			worlds[l.world] = true
			if l.generation != lines[0].generation {
				t.Errorf("step %d was done by two generations: %v", step, lines)
			}
		}
	}
	if len(worlds) != 2 {
		t.Errorf("worlds %v: the group did not change in the middle", worlds)
	}
	f.checkLedger()
	g := newFleet(t, s)
	g.dropout = 0
	alone := g.hire()
	alone.model.w = slices.Clone(newSoftmax(2, 3, nil, 1).w)
	for i := range alone.model.w {
		alone.model.w[i] = 1 // as rank 0 of the first group began
	}
	if r := g.generation(t.Context(), 1, alone)[0]; r.err != nil {
		t.Fatal(r.err)
	}
	for i := range alone.model.w {
		if math.Abs(alone.model.w[i]-a.model.w[i]) > 1e-12 {
			t.Errorf("weight %d is %v, of one rank %v", i, a.model.w[i], alone.model.w[i])
		}
	}
}

// Ranks that forget their states do the steps after the checkpoint again.
func TestForgottenStateBeginsAtTheCheckpoint(t *testing.T) {
	f := newFleet(t, spec())
	a, b := f.hire(), f.hire()
	var first *ckpt.Manifest
	var tensors []safetensors.Tensor
	a.fault = func(int, string) bool {
		if first == nil {
			first, tensors, _ = f.kept.Restore(t.Context(), nil)
		}
		return false
	}
	train := func(generation int64) {
		t.Helper()
		for rank, r := range f.generation(t.Context(), generation, a, b) {
			if r.err != nil || r.outcome != train.Finished {
				t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
			}
		}
	}
	train(1)
	want := slices.Clone(a.model.w)
	f.kept.manifest, f.kept.tensors = first, tensors
	a.loop.Forget()
	b.loop.Forget()
	train(2)
	if !slices.Equal(a.model.w, want) || !slices.Equal(b.model.w, want) {
		t.Error("the second time gave another result")
	}
	for step, times := range map[int64]int{first.Step: 1, first.Step + 1: 2, f.plan.Total: 2} {
		if n := len(f.ledger[step]); n != 2*times {
			t.Errorf("step %d was done %d times by two ranks, want %d", step, n, 2*times)
		}
	}
	// Without a checkpoint the tensors are not those of any beginning.
	f.kept.manifest = nil
	a.loop.Forget()
	if r := f.generation(t.Context(), 3, a)[0]; r.err == nil {
		t.Error("a state that was forgotten went on without a checkpoint")
	}
}

// A group that is asked to stop when it begins keeps what there is and does no step: it may be too small to go on.
func TestStopBeforeTheFirstStep(t *testing.T) {
	f := newFleet(t, spec())
	a, b := f.hire(), f.hire()
	b.fault = func(n int, at string) bool { return n == 6 && at == "forward" }
	f.generation(t.Context(), 1, a, b)
	if a.loop.Step() != 5 {
		t.Fatalf("step %d", a.loop.Step())
	}
	a.model.group, a.model.world = nil, 1
	if _, err := a.loop.Join(t.Context(), train.Generation{Number: 2, Rank: 0, World: 1}); err != nil {
		t.Fatal(err)
	}
	a.loop.Stop()
	outcome, err := a.loop.Train(t.Context())
	if err != nil || outcome != train.Stopped || a.loop.Step() != 5 || f.kept.manifest.Step != 5 {
		t.Errorf("%v, %v, at step %d with a checkpoint of step %d", outcome, err, a.loop.Step(), f.kept.manifest.Step)
	}
	// Two go on from it, to the end of an undisturbed training.
	c, d := f.hire(), f.hire()
	for rank, r := range f.generation(t.Context(), 3, c, d) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	if !slices.Equal(c.model.w, undisturbed(t, spec(), 2)) {
		t.Error("the end is not that of an undisturbed training")
	}
}

// A training that is to stop after a share of its steps does so with an evaluation and a checkpoint, on all ranks; one that goes
// on from there ends like one that never stopped.
func TestStopsAtItsShare(t *testing.T) {
	f := newFleet(t, spec())
	whole := undisturbed(t, spec(), 2)
	total := f.plan.Total // 28 steps, 7 an epoch
	for i, c := range []struct {
		share  float64
		step   int64
		others bool // the state is another trial's
	}{{1.0 / 3, 10, false}, {1.0 / 3, 10, false}, {1.0 / 3, 10, true}, {0.25, 10, true}, {0.5, 14, false}, {1, total, false}} {
		f.plan.Until = total
		if c.others {
			f.kept.manifest.Metrics = nil // as checkpoint.Keeper gives it
		}
		f.plan.StopAt(c.share)
		a, b := f.hire(), f.hire()
		want := train.Stopped
		if c.share == 1 {
			want = train.Finished
		}
		for rank, r := range f.generation(t.Context(), int64(i+1), a, b) {
			if r.err != nil || r.outcome != want {
				t.Fatalf("share %v, rank %d: %v, %v", c.share, rank, r.outcome, r.err)
			}
		}
		if a.loop.Step() != c.step || f.kept.manifest.Step != c.step || f.kept.manifest.Metrics["loss"] == 0 {
			t.Errorf("share %v: at step %d with a checkpoint of step %d and metrics %v", c.share, a.loop.Step(), f.kept.manifest.Step, f.kept.manifest.Metrics)
		}
		reported := a.news.evaluations()
		if i == 1 { // there already: nothing is done or said again
			if len(reported) != 0 {
				t.Errorf("it reported %v", reported)
			}
		} else if n := len(reported); n == 0 || reported[n-1].Step != c.step {
			t.Errorf("share %v: it reported %v", c.share, reported)
		}
		if c.share == 1 && !slices.Equal(a.model.w, whole) {
			t.Error("the end is not that of a training that never stopped")
		}
	}
}

// A step whose gradient is not finite is done once more; then its batch is skipped.
func TestNotFiniteOnce(t *testing.T) {
	f := newFleet(t, spec())
	a, b := f.hire(), f.hire()
	for _, w := range []*worker{a, b} {
		w.model.poisoned = func(n int) bool { return n == 4 }
	}
	for rank, r := range f.generation(t.Context(), 1, a, b) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	if want := undisturbed(t, spec(), 2); !slices.Equal(a.model.w, want) {
		t.Error("a step that was done once more changed the result")
	}
	f.checkLedger()
	if notes := notesOf(a); len(notes) != 1 || !strings.Contains(notes[0], "at step 4 the gradient is not finite") || !strings.Contains(notes[0], "once more") {
		t.Errorf("notes %q", notes)
	}
	if notes := notesOf(b); len(notes) != 0 {
		t.Errorf("rank 1 says it too: %q", notes)
	}
}

func TestNotFiniteTwiceSkipsTheBatch(t *testing.T) {
	f := newFleet(t, spec())
	a, b := f.hire(), f.hire()
	for _, w := range []*worker{a, b} {
		w.model.poisoned = func(n int) bool { return n == 4 || n == 5 }
	}
	for rank, r := range f.generation(t.Context(), 1, a, b) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	if len(f.ledger[4]) != 0 || len(f.ledger[3]) != 2 || len(f.ledger[5]) != 2 {
		t.Errorf("step 4 was applied %d times", len(f.ledger[4]))
	}
	if notes := notesOf(a); len(notes) != 2 || !strings.Contains(notes[1], "the batch is skipped") {
		t.Errorf("notes %q", notes)
	}
}

func TestNotFiniteThreeTimesStopsWithAReport(t *testing.T) {
	f := newFleet(t, spec())
	a, b := f.hire(), f.hire()
	for _, w := range []*worker{a, b} {
		w.model.poisoned = func(n int) bool { return n >= 12 }
	}
	for rank, r := range f.generation(t.Context(), 1, a, b) {
		if !train.IsPermanent(r.err) {
			t.Fatalf("rank %d: %v is not permanent", rank, r.err)
		}
		for _, want := range []string{"step 14", "learning rate", "gradient norm", "training.clip_norm", "3 batches in a row"} {
			if !strings.Contains(r.err.Error(), want) {
				t.Errorf("rank %d: %q does not say %q", rank, r.err, want)
			}
		}
	}
}

// The state itself is not finite: back to the last checkpoint, and past the batch that did it.
func TestStateNotFiniteGoesBack(t *testing.T) {
	f := newFleet(t, spec(func(s *tandemv1.JobSpec) { s.Checkpoint = &tandemv1.CheckpointSpec{EverySteps: 3} }))
	a, b := f.hire(), f.hire()
	for _, w := range []*worker{a, b} {
		spoilt := false
		w.model.poisoned = func(n int) bool {
			if n == 9 { // step 8 left it so
				w.model.w[0], spoilt = math.Inf(1), true
			}
			return spoilt && math.IsInf(w.model.w[0], 0)
		}
	}
	for rank, r := range f.generation(t.Context(), 1, a, b) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	if len(f.ledger[9]) != 0 {
		t.Errorf("step 9 was applied: %v", f.ledger[9])
	}
	if n := len(f.ledger[8]); n != 4 { // on both ranks, before and after
		t.Errorf("step 8 was applied %d times, want 4: it did not go back to step 7, the end of an epoch", n)
	}
	if notes := notesOf(a); len(notes) != 2 || !strings.Contains(notes[1], "going back to the last checkpoint") {
		t.Errorf("notes %q", notes)
	}
}

// One rank's state changes without its doing: it alone ends, and a new one takes its place.
func TestDivergedRankEnds(t *testing.T) {
	f := newFleet(t, spec())
	members := []*worker{f.hire(), f.hire(), f.hire()}
	flip := members[1]
	flip.fault = func(n int, at string) bool {
		if n == 5 && at == "forward" {
			flip.model.momentum[2] = math.Nextafter(flip.model.momentum[2], 9)
		}
		return false
	}
	results := f.generation(t.Context(), 1, members...)
	if err := results[1].err; err == nil || errors.Is(err, train.ErrPeerLost) || train.IsPermanent(err) || !strings.Contains(err.Error(), "is not that of the others (1 of 3") {
		t.Errorf("the rank that differs ended with %v", err)
	}
	for _, rank := range []int{0, 2} {
		if !errors.Is(results[rank].err, train.ErrPeerLost) {
			t.Errorf("rank %d ended with %v", rank, results[rank].err)
		}
	}
	if notes := notesOf(members[0]); len(notes) != 1 || !strings.Contains(notes[0], "the state of rank [1]") {
		t.Errorf("notes %q", notes)
	}
	if n := members[0].loop.Step(); n != 7 { // where an epoch ends and a checkpoint would be kept
		t.Errorf("noticed at step %d", n)
	}
	if f.kept.manifest != nil {
		t.Error("a checkpoint was kept of it")
	}
	for _, r := range f.generation(t.Context(), 2, members[0], members[2], f.hire()) {
		if r.err != nil {
			t.Fatal(r.err)
		}
	}
}

// Two ranks differ and nobody knows who is right: both end.
func TestDivergedPairEnds(t *testing.T) {
	f := newFleet(t, spec())
	a, b := f.hire(), f.hire()
	b.fault = func(n int, at string) bool {
		if n == 5 && at == "forward" {
			b.model.w[0] += 1
		}
		return false
	}
	for rank, r := range f.generation(t.Context(), 1, a, b) {
		if r.err == nil || errors.Is(r.err, train.ErrPeerLost) || !strings.Contains(r.err.Error(), "1 of 2 ranks") {
			t.Errorf("rank %d ended with %v, %v", rank, r.outcome, r.err)
		}
	}
}

// A rank that hangs is found after max(5 s, 5 steps) of waiting for it; in the first steps of a new process after 30 s.
func TestHungRankIsFound(t *testing.T) {
	for _, c := range []struct {
		name     string
		each     time.Duration // a step takes
		at       int           // step of the process in which it hangs
		survived bool          // in the second group of the same processes
		want     time.Duration
	}{
		{"short steps", 10 * time.Millisecond, 20, false, 5 * time.Second},
		{"long steps", 2 * time.Second, 20, false, 10 * time.Second},
		{"third step", 10 * time.Millisecond, 3, false, 5 * time.Second},
		{"first step", 10 * time.Millisecond, 1, false, 30 * time.Second},
		{"first step, which takes long", time.Minute, 1, false, 5 * time.Minute},
		{"first step with others again", 10 * time.Millisecond, 1, true, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, spec(func(s *tandemv1.JobSpec) { s.Training.Epochs = 10 }))
				a, b := f.hire(), f.hire()
				record := train.NewRecorder(train.RecorderConfig{Trial: "trial-1", Member: "a"}, time.Now())
				a.loop.Record = record
				if c.survived {
					a.loop.Trainer = &alarm{Trainer: a.loop.Trainer, at: 10, ring: a.loop.Move}
					for rank, r := range f.generation(t.Context(), 1, a, b) {
						if r.err != nil || r.outcome != train.Regrouped {
							t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
						}
					}
				}
				begin, released := a.loop.Step(), make(chan struct{})
				var hung, found atomic.Int64 // nanoseconds
				for _, w := range []*worker{a, b} {
					w.fault = func(n int, at string) bool {
						if at != "forward" {
							return false
						}
						time.Sleep(c.each)
						if w == b && n == int(begin)+c.at {
							hung.Store(time.Now().UnixNano())
							w.still.Store(true)
							<-released
						}
						return false
					}
				}
				abort := a.loop.Abort
				a.loop.Abort = func(why string) {
					found.Store(time.Now().UnixNano() - hung.Load())
					abort(why)
					time.AfterFunc(time.Second, func() { close(released) }) // what the coordinator does once a has said so
				}
				results := f.generation(t.Context(), 2, a, b)
				if err := results[0].err; !errors.Is(err, train.ErrHung) || !errors.Is(err, train.ErrPeerLost) {
					t.Errorf("the other rank ended with %v", err)
				}
				if a.loop.Step() != begin+int64(c.at)-1 {
					t.Errorf("it had done %d steps", a.loop.Step())
				}
				if after := time.Duration(found.Load()); after < c.want || after > c.want+200*time.Millisecond {
					t.Errorf("found after %v, want %v and at most 200 ms more", after, c.want)
				}
				var times metric.Times
				for _, s := range record.Take(time.Now(), time.Second, true) {
					for _, b := range s.Beats {
						times.Add(b.Times)
					}
				}
				if lost := times[metric.Lost]; lost < c.each || lost > c.each+200*time.Millisecond {
					t.Errorf("%v of work was lost, a step takes %v", lost, c.each)
				}
				if waited := times[metric.Waiting]; waited < c.want-c.each || waited > c.want+2*time.Second {
					t.Errorf("it is said to have waited %v, it did %v", waited, c.want)
				}
			})
		})
	}
}

// A step that takes long on all ranks is not a hang, not even the first.
func TestLongStepsAreNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, spec(func(s *tandemv1.JobSpec) { s.Training.Epochs = 1 }))
		a, b := f.hire(), f.hire()
		for _, w := range []*worker{a, b} {
			w.fault = func(n int, at string) bool {
				if at == "forward" {
					time.Sleep(3 * time.Minute)
				}
				if at == "forward" && w == b {
					time.Sleep(20 * time.Second)
				}
				return false
			}
		}
		for rank, r := range f.generation(t.Context(), 1, a, b) {
			if r.err != nil || r.outcome != train.Finished {
				t.Errorf("rank %d: %v, %v", rank, r.outcome, r.err)
			}
		}
	})
}

// A rank that computes longer than the others is named, once.
func TestStragglerIsNamed(t *testing.T) {
	f := newFleet(t, spec(func(s *tandemv1.JobSpec) { s.Training.Epochs = 12 }))
	members := []*worker{f.hire(), f.hire(), f.hire()}
	members[2].model.slow = func(n int) bool { return n > 20 && n <= 60 }
	for rank, r := range f.generation(t.Context(), 1, members...) {
		if r.err != nil {
			t.Fatalf("rank %d: %v", rank, r.err)
		}
	}
	notes := notesOf(members[0])
	if len(notes) != 2 || !strings.Contains(notes[0], "rank 2 is a straggler: it computes 3.0 times as long") || !strings.Contains(notes[1], "rank 2 keeps up") {
		t.Errorf("notes %q", notes)
	}
	if n := len(notesOf(members[1])) + len(notesOf(members[2])); n != 0 {
		t.Errorf("other ranks say it too, %d times", n)
	}
}

func notesOf(w *worker) (all []string) {
	for _, r := range w.news.reports {
		if n := r.GetNote(); n != nil {
			all = append(all, fmt.Sprint(n.GetMessage()))
		}
	}
	return all
}
