package checkpoint_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/checkpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func state(v byte) []safetensors.Tensor {
	return []safetensors.Tensor{{Name: "model.w", DType: "U8", Shape: []int64{3}, Data: []byte{v, v, v}}}
}

func at(step int64) ckpt.Manifest { return ckpt.Manifest{Step: step, WorldSize: 1} }

// bench is a keeper over a store, with what it reported.
type bench struct {
	store    *memstore.Store
	hook     memstore.Hook
	mu       sync.Mutex
	reported []*tandemv1.Checkpoint
	report   error
}

// count returns how many were reported; it may be asked while an upload is under way.
func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.reported)
}

func newBench() *bench {
	b := &bench{}
	b.store = memstore.New(memstore.Config{Hook: func(ctx context.Context, op memstore.Op) memstore.Fault {
		if b.hook != nil {
			return b.hook(ctx, op)
		}
		return memstore.Fault{}
	}})
	return b
}

func (b *bench) keeper(change ...func(*checkpoint.Config, *checkpoint.Deps)) *checkpoint.Keeper {
	c := checkpoint.Config{Job: "job-1", Trial: "trial-1", SpecHash: "hash", DatasetID: "data-1", Prefix: "trials/trial-1/ckpt", Generation: 1}
	d := checkpoint.Deps{Store: b.store, Log: zerolog.Nop(), Report: func(_ context.Context, c *tandemv1.Checkpoint) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reported = append(b.reported, c)
		return b.report
	}}
	for _, f := range change {
		f(&c, &d)
	}
	return checkpoint.New(c, d)
}

func resume(r *tandemv1.Checkpoint) func(*checkpoint.Config, *checkpoint.Deps) {
	return func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Resume, c.Generation = r, 2 }
}

// saveAll keeps checkpoints at the given steps.
func (b *bench) saveAll(t *testing.T, steps ...int64) {
	t.Helper()
	k := b.keeper()
	for _, s := range steps {
		if err := k.Save(t.Context(), at(s), state(byte(s))); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreTakesTheNamedOne(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10, 20, 30)
	m, tensors, err := b.keeper(resume(b.reported[1])).Restore(t.Context())
	if err != nil || m.Step != 20 || tensors[0].Data[0] != 20 {
		t.Fatalf("restored %+v, %v", m, err)
	}
	if m, _, err := b.keeper().Restore(t.Context()); m != nil || err != nil {
		t.Errorf("without a checkpoint to resume it restored %+v, %v", m, err)
	}
}

func TestRestoreFallsBackToAnEarlierOne(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10, 20, 30)
	damage := func(i int) {
		prefix := b.reported[i].GetPrefix()
		for _, key := range b.store.Keys() {
			if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, ".safetensors") {
				if err := b.store.Flip(key, 590); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	named := b.reported[1]
	damage(1)
	m, _, err := b.keeper(resume(named)).Restore(t.Context())
	if err != nil || m.Step != 10 {
		t.Fatalf("restored %+v, %v; want that of step 10, for 30 is newer than what was named", m, err)
	}
	damage(0)
	if m, _, err := b.keeper(resume(named)).Restore(t.Context()); m != nil || err != nil {
		t.Errorf("with none sound it restored %+v, %v; want the beginning", m, err)
	}
}

func TestRestoreRefusesAForeignOne(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10)
	_, _, err := b.keeper(resume(b.reported[0]), func(c *checkpoint.Config, _ *checkpoint.Deps) { c.SpecHash = "other" }).Restore(t.Context())
	if !errors.Is(err, ckpt.ErrForeign) {
		t.Errorf("a checkpoint of another spec gave %v", err)
	}
}

func TestStoreFaultIsNoReasonToRollBack(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10, 20)
	b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
		return memstore.Fault{Err: storage.ErrUnavailable}
	}
	if m, _, err := b.keeper(resume(b.reported[1])).Restore(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("restored %+v, %v", m, err)
	}
}

// pair is a group of two ranks.
type pair struct {
	mu   sync.Mutex
	cond *sync.Cond
	sums []float64
	n    int
}

func (p *pair) AllReduceSum(v []float64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 {
		p.sums = make([]float64, len(v))
	}
	for i := range v {
		p.sums[i] += v[i]
	}
	p.n++
	p.cond.Broadcast()
	for p.n < 2 {
		p.cond.Wait()
	}
	copy(v, p.sums)
	return nil
}

func TestAllRanksRestoreTheSame(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10, 20)
	named := b.reported[1]
	// Rank 0 alone finds the named one damaged.
	torn := memstore.New(memstore.Config{})
	for _, key := range b.store.Keys() {
		content, err := b.store.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		torn.Overwrite(key, content)
	}
	torn.Overwrite(named.GetPrefix()+"/manifest.json", []byte("{}"))
	group := &pair{}
	group.cond = sync.NewCond(&group.mu)
	var steps [2]int64
	var wg sync.WaitGroup
	for rank := range 2 {
		k := b.keeper(resume(named), func(c *checkpoint.Config, d *checkpoint.Deps) {
			c.Rank, d.Group = rank, group
			if rank == 0 {
				d.Store = torn
			}
		})
		wg.Go(func() {
			m, _, err := k.Restore(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			steps[rank] = m.Step
		})
	}
	wg.Wait()
	if steps != [2]int64{10, 10} {
		t.Errorf("the ranks restored steps %v", steps)
	}
}

func TestOneUploadAtATimeAndReportAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			time.Sleep(time.Second) // virtual: each of the two writes of a checkpoint
			return memstore.Fault{}
		}
		k := b.keeper()
		begin := time.Now()
		if err := k.Save(t.Context(), at(1), state(1)); err != nil || time.Since(begin) != 0 {
			t.Fatalf("the first save took %v: %v", time.Since(begin), err)
		}
		if err := k.Save(t.Context(), at(2), state(2)); err != nil || time.Since(begin) != 2*time.Second {
			t.Fatalf("the second save began after %v: %v", time.Since(begin), err)
		}
		if b.count() != 1 {
			t.Fatalf("%d reported when the second begins", b.count())
		}
		if err := k.Wait(t.Context()); err != nil || b.count() != 2 || time.Since(begin) != 4*time.Second {
			t.Fatalf("%d reported after %v: %v", b.count(), time.Since(begin), err)
		}
		if _, err := ckpt.Verify(t.Context(), b.store, b.reported[1].GetPrefix()); err != nil {
			t.Error(err)
		}
	})
}

func TestStoreOutageIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		back := time.Now().Add(20 * time.Second)
		b.hook = func(context.Context, memstore.Op) memstore.Fault {
			if time.Now().Before(back) {
				return memstore.Fault{Err: storage.ErrUnavailable}
			}
			return memstore.Fault{}
		}
		b.saveAll(t, 5)
		if b.count() != 1 {
			t.Errorf("%d reported", b.count())
		}
		back = time.Now().Add(time.Hour)
		k := b.keeper()
		if err := k.Save(t.Context(), at(6), state(6)); err != nil {
			t.Fatal(err)
		}
		if err := k.Wait(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("a store that stays away gave %v", err)
		}
		back = time.Now()
		if err := k.Save(t.Context(), at(7), state(7)); err != nil {
			t.Errorf("the next one gave %v", err)
		}
		if err := k.Wait(t.Context()); err != nil || b.count() != 2 {
			t.Errorf("%d reported, %v", b.count(), err)
		}
	})
}

func TestStaleGenerationEnds(t *testing.T) {
	b := newBench()
	b.report = checkpoint.ErrStale
	k := b.keeper()
	if err := k.Save(t.Context(), at(1), state(1)); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(t.Context(), at(2), state(2)); !errors.Is(err, checkpoint.ErrStale) {
		t.Errorf("the save after a stale one gave %v", err)
	}
}

func TestCloseLeavesNothingUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.hook = func(ctx context.Context, _ memstore.Op) memstore.Fault {
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			return memstore.Fault{}
		}
		for _, c := range []struct {
			patience time.Duration
			reported int
		}{{10 * time.Second, 1}, {time.Second, 0}} {
			b.reported = nil
			k := b.keeper()
			k.Close(t.Context()) // nothing was begun
			if err := k.Save(t.Context(), at(int64(c.patience)), state(1)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.patience)
			k.Close(ctx)
			cancel()
			if b.count() != c.reported {
				t.Errorf("%d reported with a patience of %v, want %d", b.count(), c.patience, c.reported)
			}
			time.Sleep(time.Minute) // virtual
			if b.count() != c.reported {
				t.Errorf("%d reported a minute after Close", b.count())
			}
		}
	})
}
