package train_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/train"
)

// courier moves a state in pieces, one a second.
type courier struct {
	train.Trainer
	w       *worker
	silent  int           // the piece that does not come; 0: all come
	release chan struct{} // ends the silence
	settle  time.Duration // who got the state puts it in place
}

const pieces = 60

func (c *courier) SyncState(root int) error {
	m := c.w.model.group.(member)
	for piece := range pieces {
		if m.rank == root {
			time.Sleep(time.Second)
		}
		if m.rank == root && c.silent > 0 && piece == c.silent {
			c.w.still.Store(true)
			<-c.release
		}
		if _, err := m.Broadcast(root, nil); err != nil {
			return err
		}
	}
	err := c.Trainer.SyncState(root)
	if m.rank != root {
		time.Sleep(c.settle)
	}
	return err
}

// newcomer lets a training of one go on with a second, who gets the state from a courier.
func newcomer(t *testing.T, silent int) (b *worker, found time.Duration, results []result) {
	t.Helper()
	f := newFleet(t, spec(func(s *tandemv1.JobSpec) { s.Training.Epochs = 2 }))
	a := f.hire()
	b = f.hire()
	trainer := a.loop.Trainer
	a.loop.Trainer = &alarm{Trainer: trainer, at: 10, ring: a.loop.Move}
	if r := f.generation(t.Context(), 1, a)[0]; r.err != nil || r.outcome != train.Regrouped {
		t.Fatalf("%v, %v", r.outcome, r.err)
	}
	release := make(chan struct{})
	a.loop.Trainer = &courier{Trainer: trainer, w: a, silent: silent, release: release}
	b.loop.Trainer = &courier{Trainer: b.loop.Trainer, w: b, settle: 50 * time.Second}
	begin := time.Now()
	abort := b.loop.Abort
	b.loop.Abort = func(why string) {
		found = time.Since(begin)
		abort(why)
		close(release)
	}
	results = f.generation(t.Context(), 2, a, b)
	return b, found, results
}

// A state that takes a minute to come, and nearly as long to put in place, is not a hang.
func TestLongTransferIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, results := newcomer(t, 0)
		for rank, r := range results {
			if r.err != nil || r.outcome != train.Finished {
				t.Errorf("rank %d: %v, %v", rank, r.outcome, r.err)
			}
		}
	})
}

// A rank that falls silent in the middle of giving its state is found after 5 s, however long it gave before.
func TestSilenceInATransferIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, found, results := newcomer(t, 40)
		if err := results[1].err; !errors.Is(err, train.ErrHung) {
			t.Errorf("the newcomer ended with %v", err)
		}
		if b.loop.Step() != 0 {
			t.Errorf("it has a state, of step %d", b.loop.Step())
		}
		if silence := found - 40*time.Second; silence < 5*time.Second || silence > 5*time.Second+1200*time.Millisecond {
			t.Errorf("found %v after the last piece", silence)
		}
	})
}
