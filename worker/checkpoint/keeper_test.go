package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
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

// state is a training state in which every byte is the same.
type state byte

// shardBytes are fewer than by default, for the speed of tests.
const shardBytes = 40 << 20

var tensorSizes = map[string]int64{"model.w": 30, "model.b": 3, "optim.w.exp_avg": 30, "optim.b.exp_avg": 3, "optim.step": 1}

func (s state) StateSizes() ([]string, []int64, error) {
	names := slices.Sorted(maps.Keys(tensorSizes))
	var bytes []int64
	for _, name := range names {
		bytes = append(bytes, tensorSizes[name])
	}
	return names, bytes, nil
}

func (s state) StateOf(names []string, _ []safetensors.Tensor) (all []safetensors.Tensor, _ error) {
	for _, name := range names {
		n := tensorSizes[name]
		all = append(all, safetensors.Tensor{Name: name, DType: "U8", Shape: []int64{n}, Data: bytes.Repeat([]byte{byte(s)}, int(n))})
	}
	return all, nil
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

// away makes the store unavailable for so long, and returns when it is back.
func (b *bench) away(d time.Duration) (back time.Time) {
	back = time.Now().Add(d)
	b.hook = func(context.Context, memstore.Op) memstore.Fault {
		if time.Now().Before(back) {
			return memstore.Fault{Err: storage.ErrUnavailable}
		}
		return memstore.Fault{}
	}
	return back
}

func (b *bench) keeper(change ...func(*checkpoint.Config, *checkpoint.Deps)) *checkpoint.Keeper {
	c := checkpoint.Config{Job: "job-1", Trial: "trial-1", SpecHash: "hash", DatasetID: "data-1", Prefix: "trials/trial-1/ckpt", Generation: 1, ShardBytes: shardBytes}
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
		if err := k.Save(t.Context(), at(s), state(byte(s)), false); err != nil {
			t.Fatal(err)
		}
		if err := k.Wait(t.Context(), func() {}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestoreTakesTheNamedOne(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10, 20, 30)
	m, tensors, err := b.keeper(resume(b.reported[1])).Restore(t.Context(), never(t))
	if err != nil || m.Step != 20 || tensors[0].Data[0] != 20 {
		t.Fatalf("restored %+v, %v", m, err)
	}
	if m, _, err := b.keeper().Restore(t.Context(), never(t)); m != nil || err != nil {
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
	m, _, err := b.keeper(resume(named)).Restore(t.Context(), never(t))
	if err != nil || m.Step != 10 {
		t.Fatalf("restored %+v, %v; want that of step 10, for 30 is newer than what was named", m, err)
	}
	damage(0)
	if m, _, err := b.keeper(resume(named)).Restore(t.Context(), never(t)); m != nil || err != nil {
		t.Errorf("with none sound it restored %+v, %v; want the beginning", m, err)
	}
}

func TestRestoreRefusesAForeignOne(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10)
	_, _, err := b.keeper(resume(b.reported[0]), func(c *checkpoint.Config, _ *checkpoint.Deps) { c.SpecHash = "other" }).Restore(t.Context(), never(t))
	if !errors.Is(err, ckpt.ErrForeign) {
		t.Errorf("a checkpoint of another spec gave %v", err)
	}
}

// A trial of a population may begin from another's state, whatever its hyper-parameters; not from a damaged one, and not from scratch instead.
func TestRestoreTakesAnotherTrialsState(t *testing.T) {
	b := newBench()
	b.saveAll(t, 10, 20)
	other := func(c *checkpoint.Config, _ *checkpoint.Deps) {
		c.Trial, c.SpecHash, c.Prefix = "trial-2", "other", "trials/trial-2/ckpt"
	}
	m, tensors, err := b.keeper(resume(b.reported[1]), other).Restore(t.Context(), never(t))
	if err != nil || m.Step != 20 || m.Best != nil || tensors[0].Data[0] != 20 {
		t.Fatalf("restored %+v, %v", m, err)
	}
	_, _, err = b.keeper(resume(b.reported[1]), other, func(c *checkpoint.Config, _ *checkpoint.Deps) { c.DatasetID = "data-2" }).Restore(t.Context(), never(t))
	if !errors.Is(err, ckpt.ErrForeign) {
		t.Errorf("a checkpoint of another dataset gave %v", err)
	}
	for _, key := range b.store.Keys() {
		if strings.HasPrefix(key, b.reported[1].GetPrefix()) && strings.HasSuffix(key, ".safetensors") {
			if err := b.store.Flip(key, 590); err != nil {
				t.Fatal(err)
			}
		}
	}
	if m, _, err := b.keeper(resume(b.reported[1]), other).Restore(t.Context(), never(t)); !errors.Is(err, ckpt.ErrCorrupt) {
		t.Errorf("a damaged one gave %+v, %v", m, err)
	}
}

// never is called when a test's store is unavailable though it should not be.
func never(t *testing.T) func() {
	return func() { t.Error("the store is said to be unavailable") }
}

func TestStoreFaultIsNoReasonToRollBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.saveAll(t, 10, 20)
		b.away(time.Hour)
		told := 0
		m, _, err := b.keeper(resume(b.reported[1])).Restore(t.Context(), func() { told++ })
		if err != nil || m.Step != 20 || told != 1 {
			t.Errorf("restored %+v, %v; told %d times", m, err, told)
		}
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault { return memstore.Fault{Err: storage.ErrDenied} }
		if m, _, err := b.keeper(resume(b.reported[1])).Restore(t.Context(), never(t)); !errors.Is(err, storage.ErrDenied) {
			t.Errorf("restored %+v, %v", m, err)
		}
	})
}

// pair is a group of two ranks. A rank that waits for the other for two minutes finds it lost.
type pair struct {
	mu    sync.Mutex
	sums  []float64 // of the rank that came first; nil before
	ready chan []float64
}

func (p *pair) AllReduceSum(v []float64) error {
	p.mu.Lock()
	if p.sums == nil {
		p.sums, p.ready = v, make(chan []float64, 1)
		ready := p.ready
		p.mu.Unlock()
		select {
		case sums := <-ready:
			copy(v, sums)
			return nil
		case <-time.After(2 * time.Minute):
			return errors.New("the other rank is lost")
		}
	}
	defer p.mu.Unlock()
	for i := range v {
		v[i] += p.sums[i]
	}
	p.ready <- slices.Clone(v)
	p.sums = nil
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
			m, _, err := k.Restore(t.Context(), never(t))
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

// However the store is away for one rank or the other, none of them waits in a collective.
func TestRanksWaitForTheStoreTogether(t *testing.T) {
	for away := range 2 {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.saveAll(t, 10)
			back := time.Now().Add(time.Hour)
			group := &pair{}
			var wg sync.WaitGroup
			for rank := range 2 {
				told := 0
				k := b.keeper(resume(b.reported[0]), func(c *checkpoint.Config, d *checkpoint.Deps) {
					c.Rank, d.Group = rank, group
					d.Store = outage{b.store, func() bool { return rank == away && time.Now().Before(back) }}
				})
				wg.Go(func() {
					m, _, err := k.Restore(t.Context(), func() { told++ })
					if err != nil || m == nil || m.Step != 10 || told != 1 {
						t.Errorf("rank %d restored %+v, %v; told %d times", rank, m, err, told)
					}
				})
			}
			wg.Wait()
		})
	}
}

// outage is a store that one rank cannot read from for a while.
type outage struct {
	storage.Store
	on func() bool
}

func (o outage) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	if o.on() {
		return nil, storage.Info{}, storage.ErrUnavailable
	}
	return o.Store.Get(ctx, key)
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
			b.keeper().Close(t.Context()) // nothing was begun
			if err := k.Save(t.Context(), at(int64(c.patience)), state(1), false); err != nil {
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
