package train_test

import (
	"errors"
	"slices"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/train"
)

// relayed trains two ranks for four steps, and then has one of them hand the state on to two new ones in a group of three. What that is
// asked when it has formed, ask says.
func relayed(t *testing.T, f *fleet, ask func(carrier *worker)) (members []*worker, results []result) {
	t.Helper()
	a, b := f.hire(), f.hire()
	b.fault = func(n int, at string) bool {
		if n == 4 && at == "forward" {
			b.loop.Move()
		}
		return false
	}
	for rank, r := range f.generation(t.Context(), 1, a, b) {
		if r.err != nil || r.outcome != train.Regrouped {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	members = []*worker{a, f.hire(), f.hire()}
	formed := 0
	a.news.hook = func(r *tandemv1.EngineReport) {
		if r.GetFormed() != nil {
			formed++
			ask(a)
		}
	}
	f.relay = true
	results = f.generation(t.Context(), 2, members...)
	f.relay, a.news.hook = false, nil
	if formed != 1 {
		t.Fatalf("the group said %d times that it has formed", formed)
	}
	return members, results
}

// A group of three that only hands the state on does no step, so that the end is that of two undisturbed ranks bit for bit.
func TestRelayHandsTheStateOn(t *testing.T) {
	f := newFleet(t, spec())
	members, results := relayed(t, f, func(carrier *worker) { carrier.loop.Move() })
	for rank, r := range results {
		if step := members[rank].loop.Step(); r.err != nil || r.outcome != train.Regrouped || step != members[0].loop.Step() || step < 4 {
			t.Fatalf("rank %d: %v, %v, at step %d", rank, r.outcome, r.err, step)
		}
	}
	for rank, r := range f.generation(t.Context(), 3, members[1:]...) {
		if r.err != nil || r.outcome != train.Finished {
			t.Fatalf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	f.checkLedger()
	for step, lines := range f.ledger {
		if len(lines) != 2 {
			t.Errorf("step %d was done by %v", step, lines)
		}
	}
	if !slices.Equal(members[1].model.w, undisturbed(t, spec(), 2)) {
		t.Error("the end is not that of an undisturbed training")
	}
}

// It stops with a checkpoint like any other, and breaks like any other.
func TestRelayStopsAndBreaks(t *testing.T) {
	f := newFleet(t, spec())
	members, results := relayed(t, f, func(carrier *worker) { carrier.loop.Stop() })
	for rank, r := range results {
		if r.err != nil || r.outcome != train.Stopped {
			t.Errorf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
	if step := members[0].loop.Step(); f.kept.manifest.Step != step {
		t.Errorf("stopped at step %d with a checkpoint of step %d", step, f.kept.manifest.Step)
	}
	f = newFleet(t, spec())
	_, results = relayed(t, f, func(carrier *worker) { carrier.model.group.(member).ring.lose() })
	for rank, r := range results {
		if !errors.Is(r.err, train.ErrPeerLost) {
			t.Errorf("rank %d: %v, %v", rank, r.outcome, r.err)
		}
	}
}
