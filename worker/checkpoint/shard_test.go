package checkpoint_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/checkpoint"
)

// ranks makes the keepers of a generation.
func (b *bench) ranks(world int, generation int64, change ...func(*checkpoint.Config, *checkpoint.Deps)) (all []*checkpoint.Keeper) {
	for rank := range world {
		place := func(c *checkpoint.Config, _ *checkpoint.Deps) {
			c.Rank, c.World, c.Generation = rank, world, generation
		}
		all = append(all, b.keeper(append(change, place)...))
	}
	return all
}

// agree does what the loop does in a sync: when no rank is busy, all ranks know it.
func agree(all []*checkpoint.Keeper) {
	if !slices.ContainsFunc(all, (*checkpoint.Keeper).Busy) {
		for _, k := range all {
			k.Free()
		}
	}
}

// saveOn saves a step on all ranks.
func saveOn(t *testing.T, all []*checkpoint.Keeper, m ckpt.Manifest, last bool) {
	t.Helper()
	agree(all)
	m.WorldSize = len(all)
	for _, k := range all {
		begin := time.Now()
		if err := k.Save(t.Context(), m, state(byte(m.Step)), last); err != nil {
			t.Fatal(err)
		}
		if stall := time.Since(begin); stall > 0 && !last {
			t.Errorf("the save of step %d took %v", m.Step, stall)
		}
	}
}

func waitAll(t *testing.T, all []*checkpoint.Keeper) {
	t.Helper()
	var wg sync.WaitGroup
	for rank, k := range all {
		wg.Go(func() {
			if err := k.Wait(t.Context(), func() {}); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		})
	}
	wg.Wait()
}

// circle is a group of any size that loses nobody.
type circle struct {
	mu    sync.Mutex
	world int
	came  [][]float64
	full  chan struct{}
}

func newCircle(world int) *circle { return &circle{world: world, full: make(chan struct{})} }

func (c *circle) AllReduceSum(v []float64) error {
	c.mu.Lock()
	c.came = append(c.came, v)
	full := c.full
	if len(c.came) < c.world {
		c.mu.Unlock()
		<-full
		return nil
	}
	sum := make([]float64, len(v))
	for _, x := range c.came {
		for i := range x {
			sum[i] += x[i]
		}
	}
	for _, x := range c.came {
		copy(x, sum)
	}
	c.came, c.full = nil, make(chan struct{})
	close(full)
	c.mu.Unlock()
	return nil
}

func sorted(tensors []safetensors.Tensor) []safetensors.Tensor {
	slices.SortFunc(tensors, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return tensors
}

// whole is all of a state.
func whole(s state) []safetensors.Tensor {
	names, _, _ := s.StateSizes()
	all, _ := s.StateOf(names, nil)
	return sorted(all)
}

// What w ranks save, v ranks load, whatever the two are, more ranks than tensors, too, and however small the shards.
func TestAnyWorldLoadsWhatAnyWorldSaved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, v := rapid.IntRange(1, 8).Draw(rt, "w"), rapid.IntRange(1, 8).Draw(rt, "v")
		limit := rapid.Int64Range(1, 70).Draw(rt, "limit")
		cursor := ckpt.Cursor{Epoch: 3, Position: rapid.Int64Range(0, 1<<40).Draw(rt, "position")}
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			all := b.ranks(w, 1, func(c *checkpoint.Config, _ *checkpoint.Deps) { c.ShardBytes = limit })
			m := at(9)
			m.Cursor = cursor
			saveOn(t, all, m, true)
			waitAll(t, all)
			if b.count() != 1 {
				t.Fatalf("%d reported by %d ranks", b.count(), w)
			}
			group := newCircle(v)
			var wg sync.WaitGroup
			for _, k := range b.ranks(v, 2, resume(b.reported[0]), func(_ *checkpoint.Config, d *checkpoint.Deps) { d.Group = group }) {
				wg.Go(func() {
					m, got, err := k.Restore(t.Context(), never(t))
					if err != nil {
						t.Error(err)
						return
					}
					if diff := cmp.Diff(whole(9), sorted(got)); diff != "" || m.Cursor != cursor || len(m.Shards) < w || w == 1 && limit < 67 && len(m.Shards) == 1 {
						t.Errorf("%d ranks saved, %d load: %+v\n%s", w, v, m, diff)
					}
				})
			}
			wg.Wait()
		})
	})
}

func TestSharesAreEven(t *testing.T) {
	b := newBench()
	all := b.ranks(2, 1)
	saveOn(t, all, at(1), true)
	waitAll(t, all)
	m, err := ckpt.Verify(t.Context(), b.store, b.reported[0].GetPrefix())
	if err != nil || len(m.Shards) != 2 {
		t.Fatal(m, err)
	}
	for _, s := range m.Shards { // each one large tensor and half of the small ones
		if s.Tensors < 2 || s.Tensors > 3 {
			t.Errorf("shares %+v", m.Shards)
		}
	}
}

// manifests returns the keys of those in the store.
func (b *bench) manifests() (all []string) {
	for _, key := range b.store.Keys() {
		if strings.HasSuffix(key, "/manifest.json") {
			all = append(all, key)
		}
	}
	return all
}

// A rank is lost at each operation of a checkpoint: there is the whole of it, or nothing.
func TestRankLostWhileSaving(t *testing.T) {
	for lost := range 2 {
		for n := 1; ; n++ {
			over := false
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				ops := 0
				all := b.ranks(2, 1)
				dead, kill := context.WithCancel(t.Context())
				all[lost] = b.keeper(func(c *checkpoint.Config, d *checkpoint.Deps) {
					c.Rank, c.World = lost, 2
					d.Store = mortal{b.store, func() bool {
						if ops++; ops >= n {
							kill()
						}
						return dead.Err() != nil
					}}
				})
				saveOn(t, all, at(1), false)
				time.Sleep(time.Minute) // virtual
				if n == 1 && lost == 1 && b.count() != 0 {
					t.Error("committed without the share of a rank")
				}
				for _, key := range b.manifests() {
					if _, err := ckpt.Verify(t.Context(), b.store, strings.TrimSuffix(key, "/manifest.json")); err != nil {
						t.Errorf("operation %d of rank %d: half a checkpoint was committed: %v", n, lost, err)
					}
				}
				// The other rank goes on alone; its next checkpoint takes the place of this one.
				survivor := all[1-lost]
				survivor.Join(2, 0, 1, nil)
				saveOn(t, []*checkpoint.Keeper{survivor}, at(2), true)
				waitAll(t, []*checkpoint.Keeper{survivor})
				if got := b.steps(); got[len(got)-1] != 2 {
					t.Errorf("operation %d of rank %d: kept %v", n, lost, got)
				}
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				all[lost].Close(ended)
				over = ops < n
			})
			if over {
				break
			}
		}
	}
}

// mortal is the store as a process sees it that ends in the middle of an operation.
type mortal struct {
	storage.Store
	dead func() bool
}

func (m mortal) guard(ctx context.Context) error {
	if m.dead() {
		<-ctx.Done() // a dead process does nothing any more
		return ctx.Err()
	}
	return nil
}

func (m mortal) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := m.guard(ctx); err != nil {
		return err
	}
	return m.Store.Put(ctx, key, r, size)
}

func (m mortal) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	if err := m.guard(ctx); err != nil {
		return err
	}
	return m.Store.PutIfAbsent(ctx, key, b)
}

// A share of a former generation comes late: it changes nothing, for its place is another.
func TestGenerationsAtTheSameStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		held := make(chan struct{})
		old := b.ranks(2, 1)
		old[1] = b.keeper(func(c *checkpoint.Config, d *checkpoint.Deps) {
			c.Rank, c.World = 1, 2
			d.Store = mortal{b.store, func() bool { <-held; return false }}
		})
		saveOn(t, old, at(5), false)
		time.Sleep(time.Second)
		// Rank 1 is replaced by another process, which saves the same step in the next generation.
		fresh := b.keeper(func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Rank, c.World, c.Generation = 1, 2, 2 })
		old[0].Join(2, 0, 2, nil)
		now := []*checkpoint.Keeper{old[0], fresh}
		saveOn(t, now, at(5), true)
		waitAll(t, now)
		if b.count() != 1 || b.reported[0].GetGeneration() != 2 {
			t.Fatalf("reported %v", b.reported)
		}
		want, err := ckpt.Verify(t.Context(), b.store, b.reported[0].GetPrefix())
		if err != nil {
			t.Fatal(err)
		}
		close(held)
		waitAll(t, old[1:])
		time.Sleep(time.Minute) // virtual
		got, err := ckpt.Verify(t.Context(), b.store, b.reported[0].GetPrefix())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		if got := b.manifests(); len(got) != 1 {
			t.Errorf("committed: %v", got)
		}
	})
}

// What a planned change finds under way is finished, for all its ranks are still there.
func TestJoinGoesOnWithWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			if op.Kind == memstore.OpPut {
				time.Sleep(time.Second) // virtual
			}
			return memstore.Fault{}
		}
		all := b.ranks(2, 1)
		saveOn(t, all, at(1), false)
		saveOn(t, all, at(2), false) // waits for the first
		grown := append(slices.Clone(all), b.keeper(func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Rank, c.World, c.Generation = 2, 3, 2 }))
		for rank, k := range all {
			k.Join(2, rank, 3, nil)
		}
		time.Sleep(5 * time.Second) // virtual
		saveOn(t, grown, at(3), true)
		waitAll(t, grown)
		if got := b.steps(); !slices.Equal(got, []int64{1, 2, 3}) {
			t.Errorf("kept %v", got)
		}
		for i, c := range b.reported {
			if want := int64(1 + i/2); c.GetGeneration() != want {
				t.Errorf("step %d is of generation %d", c.GetStep(), c.GetGeneration())
			}
		}
	})
}

// One rank that is slow makes all ranks leave out the same checkpoints.
func TestSlowRankIsWaitedForByNobody(t *testing.T) {
	for slow := range 3 {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
				if op.Kind == memstore.OpPut && strings.Contains(op.Key, fmt.Sprintf("shard-%05d", slow)) {
					time.Sleep(2500 * time.Millisecond) // virtual
				}
				return memstore.Fault{}
			}
			all := b.ranks(3, 1)
			for step := range int64(20) {
				saveOn(t, all, at(step+1), false)
				time.Sleep(time.Second)
			}
			waitAll(t, all)
			got := b.steps()
			if len(got) < 7 || got[len(got)-1] != 20 {
				t.Errorf("kept %v", got)
			}
			if s := all[0].Stats(); s.GivenUp != 0 || s.LeftOut == 0 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// lying is a store to which a rank tells something else than what it has done.
type lying struct {
	storage.Store
	change func(string) string
}

func (l lying) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	if !strings.Contains(key, "/rank-") {
		return l.Store.PutIfAbsent(ctx, key, b)
	}
	return l.Store.PutIfAbsent(ctx, key, []byte(l.change(string(b))))
}

func TestPartThatLiesIsNotCommitted(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"a torn word":          func(s string) string { return s[:len(s)/2] },
		"a flipped bit":        func(s string) string { return strings.Replace(s, `"rank":1`, `"rank":0`, 1) },
		"a hash that is not":   func(s string) string { return strings.Replace(s, `"sha256":"`, `"sha256":"0`, 1) },
		"another world":        func(s string) string { return strings.Replace(s, `"world":2`, `"world":3`, 1) },
		"the word of a robber": func(string) string { return "{}" },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			all := b.ranks(2, 1)
			all[1] = b.keeper(func(c *checkpoint.Config, d *checkpoint.Deps) {
				c.Rank, c.World = 1, 2
				d.Store = lying{b.store, change}
			})
			saveOn(t, all, at(1), true)
			if err := all[0].Wait(t.Context(), never(t)); err == nil || len(b.manifests()) != 0 || b.count() != 0 {
				t.Errorf("%s: committed %v, %v", name, b.manifests(), err)
			}
			waitAll(t, all[1:])
		})
	}
}

func TestReportOfAFormerGenerationMayBeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			time.Sleep(time.Second) // virtual
			return memstore.Fault{}
		}
		k := b.keeper(func(_ *checkpoint.Config, d *checkpoint.Deps) {
			report := d.Report
			d.Report = func(ctx context.Context, c *tandemv1.Checkpoint) error {
				if c.GetGeneration() < 2 {
					return checkpoint.ErrStale
				}
				return report(ctx, c)
			}
		})
		instant(t, k, at(1))
		k.Join(2, 0, 1, nil)
		time.Sleep(time.Minute)
		instant(t, k, at(2))
		if err := k.Wait(t.Context(), never(t)); err != nil || b.count() != 1 {
			t.Errorf("kept %v, %v", b.steps(), err)
		}
	})
}
