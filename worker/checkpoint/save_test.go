package checkpoint_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/memstore"
	"tandem.dev/worker/checkpoint"
)

// steps returns those of the checkpoints that were reported, in their order.
func (b *bench) steps() (all []int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.reported {
		all = append(all, c.GetStep())
	}
	return all
}

// instant saves and fails the test if that takes time.
func instant(t *testing.T, k *checkpoint.Keeper, m ckpt.Manifest) {
	t.Helper()
	begin := time.Now()
	if err := k.Save(t.Context(), m, state(byte(m.Step)), false); err != nil {
		t.Fatal(err)
	}
	if stall := time.Since(begin); stall != 0 {
		t.Errorf("the save of step %d took %v", m.Step, stall)
	}
}

// evaluated is the manifest of a step that was evaluated.
func evaluated(step, best int64) ckpt.Manifest {
	m := at(step)
	m.Best = &ckpt.Best{Metric: "accuracy", Value: 0.5, Step: best}
	return m
}

func TestNeverTwoAtOnceAndNeverAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		under := 0
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			if under++; under > 1 {
				t.Error("two requests at once")
			}
			time.Sleep(5 * time.Second) // virtual: each of the two writes of a checkpoint
			under--
			return memstore.Fault{}
		}
		k := b.keeper()
		for step := range int64(8) { // one each second: only the newest and the best wait
			instant(t, k, evaluated(step+1, min(step+1, 4)))
			time.Sleep(time.Second)
		}
		if err := k.Wait(t.Context(), never(t)); err != nil {
			t.Fatal(err)
		}
		if got := b.steps(); len(got) != 3 || got[0] != 1 || got[1] != 4 || got[2] != 8 {
			t.Errorf("kept steps %v, want the first, the best and the last", got)
		}
		if s := k.Stats(); s.Committed != 3 || s.LeftOut != 5 || s.GivenUp != 0 {
			t.Errorf("counted %+v", s)
		}
		for _, c := range b.reported {
			if _, err := ckpt.Verify(t.Context(), b.store, c.GetPrefix()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestReportComesAfterTheCommit(t *testing.T) {
	b := newBench()
	k := b.keeper(func(_ *checkpoint.Config, d *checkpoint.Deps) {
		report := d.Report
		d.Report = func(ctx context.Context, c *tandemv1.Checkpoint) error {
			if _, err := ckpt.Verify(ctx, b.store, c.GetPrefix()); err != nil {
				t.Errorf("reported, but: %v", err)
			}
			return report(ctx, c)
		}
	})
	instantly := k.Save(t.Context(), at(1), state(1), true)
	if err := k.Wait(t.Context(), never(t)); err != nil || instantly != nil || b.count() != 1 {
		t.Errorf("%d reported, %v, %v", b.count(), instantly, err)
	}
}

func TestStaleGenerationEnds(t *testing.T) {
	b := newBench()
	b.report = checkpoint.ErrStale
	k := b.keeper()
	if err := k.Save(t.Context(), at(1), state(1), false); err != nil {
		t.Fatal(err)
	}
	if err := k.Wait(t.Context(), never(t)); !errors.Is(err, checkpoint.ErrStale) {
		t.Errorf("the wait gave %v", err)
	}
	if err := k.Save(t.Context(), at(2), state(2), false); !errors.Is(err, checkpoint.ErrStale) {
		t.Errorf("the save after a stale one gave %v", err)
	}
}

// A task has no other part of the store than its trial's checkpoints, in an outage neither.
func TestKeysAreBelowTheCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		back := b.away(time.Minute)
		away := b.hook
		kinds := map[memstore.Kind]bool{}
		b.hook = func(ctx context.Context, op memstore.Op) memstore.Fault {
			b.mu.Lock()
			defer b.mu.Unlock()
			kinds[op.Kind] = true
			if !strings.HasPrefix(op.Key, "trials/trial-1/ckpt/") {
				t.Errorf("%v %s", op.Kind, op.Key)
			}
			return away(ctx, op)
		}
		k := b.keeper()
		err := k.Save(t.Context(), at(1), newLarge(), false)
		if err == nil {
			err = k.Wait(t.Context(), func() {})
		}
		if err != nil {
			t.Fatal(err)
		}
		if !kinds[memstore.OpHead] || b.count() != 1 || time.Now().Before(back) {
			t.Errorf("%v, %d kept", kinds, b.count())
		}
		k.Close(t.Context())
	})
}

// Without room on local disk, the newest and the best of small ones wait in memory.
func TestOutageWithoutSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		back := b.away(time.Hour)
		k := b.keeper()
		for step := range int64(5) {
			instant(t, k, evaluated(step, min(step, 2)))
			time.Sleep(time.Minute) // virtual
		}
		told := 0
		if err := k.Wait(t.Context(), func() { told++ }); err != nil || told != 1 {
			t.Errorf("waited with %v, told %d times", err, told)
		}
		if late := time.Since(back); late < 0 || late > 11*time.Second {
			t.Errorf("it was noticed after %v that the store is back", late)
		}
		if got := b.steps(); len(got) != 2 || got[0] != 2 || got[1] != 4 {
			t.Errorf("kept %v, want the best and the newest", got)
		}

		b.away(time.Hour)
		instant(t, k, at(6))
		stopped, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := k.Wait(stopped, func() {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait that was ended gave %v", err)
		}
		k.Close(stopped)
		if b.count() != 2 {
			t.Errorf("reported %v", b.steps())
		}
	})
}

func logTo(w io.Writer) func(*checkpoint.Config, *checkpoint.Deps) {
	return func(_ *checkpoint.Config, d *checkpoint.Deps) { d.Log = zerolog.New(w) }
}
