package checkpoint_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/memstore"
	"tandem.dev/worker/checkpoint"
)

// cut makes the test's state four shards of one rank, or three and two of two.
func cut(c *checkpoint.Config, _ *checkpoint.Deps) { c.ShardBytes = 30 }

// verify reads all that is committed, which has so many shards.
func (b *bench) verify(t *testing.T, shards int) {
	t.Helper()
	for _, key := range b.manifests() {
		m, err := ckpt.Verify(t.Context(), b.store, strings.TrimSuffix(key, "/manifest.json"))
		if err != nil || len(m.Shards) != shards {
			t.Errorf("%s: %d shards, want %d, %v", key, len(m.Shards), shards, err)
		}
	}
}

// The shards of a share are written side by side, and come back as the state that was saved, with any other limit.
func TestShardsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		var under, most atomic.Int64
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			if op.Kind == memstore.OpPut {
				most.Store(max(most.Load(), under.Add(1)))
				time.Sleep(time.Second) // virtual
				under.Add(-1)
			}
			return memstore.Fault{}
		}
		k := b.keeper(cut)
		begin := time.Now()
		instant(t, k, at(1))
		if err := k.Wait(t.Context(), never(t)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 2*time.Second || most.Load() != 3 {
			t.Errorf("four shards took %v, at most %d at a time", took, most.Load())
		}
		b.verify(t, 4)
		_, got, err := b.keeper(resume(b.reported[0])).Restore(t.Context(), never(t))
		if diff := cmp.Diff(whole(1), sorted(got)); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

// A shard that fails ends the attempt, or begins it again when the store was away; without all of them nothing is committed.
func TestShardFails(t *testing.T) {
	for shard := range 4 {
		for name, c := range map[string]struct {
			err  error
			kept []int64
		}{
			"for good":       {storage.ErrDenied, []int64{2}},
			"store was away": {storage.ErrUnavailable, []int64{1, 2}},
		} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				var failed atomic.Bool // shards are put side by side
				b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
					if !strings.Contains(op.Key, fmt.Sprintf("/shard-%05d", shard)) || failed.Swap(true) {
						return memstore.Fault{}
					}
					return memstore.Fault{Err: c.err}
				}
				k := b.keeper(cut)
				for step := range int64(2) {
					instant(t, k, at(step+1))
					if err := k.Wait(t.Context(), func() {}); (err == nil) != slices.Contains(c.kept, step+1) {
						t.Errorf("%s, shard %d: step %d gave %v", name, shard, step+1, err)
					}
				}
				if got := b.steps(); !slices.Equal(got, c.kept) || len(b.manifests()) != len(c.kept) {
					t.Errorf("%s, shard %d: kept %v, want %v", name, shard, got, c.kept)
				}
				b.verify(t, 4)
			})
		}
	}
}

// A rank is lost before any of its shards, its word or the commit: there is the whole checkpoint, or nothing.
func TestRankLostBetweenItsShards(t *testing.T) {
	for lost, writes := range []int64{4, 3} { // shards, and the commit or the word
		for n := range writes + 1 {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				var ops atomic.Int64
				all := b.ranks(2, 1, cut)
				dead, kill := context.WithCancel(t.Context())
				all[lost] = b.keeper(cut, func(c *checkpoint.Config, d *checkpoint.Deps) {
					c.Rank, c.World = lost, 2
					d.Store = mortal{b.store, func() bool {
						if ops.Add(1) > n {
							kill()
						}
						return dead.Err() != nil
					}}
				})
				saveOn(t, all, at(1), false)
				time.Sleep(time.Minute) // virtual
				if got := b.manifests(); (len(got) == 1) != (n == writes) {
					t.Errorf("rank %d was lost after %d of %d writes: %v is committed", lost, n, writes, got)
				}
				b.verify(t, 5)
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				for _, k := range all {
					k.Close(ended)
				}
			})
		}
	}
}

// Shards that wait on local disk come to the store as they were, by all ranks.
func TestShardsWaitOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.away(time.Hour)
		dir := t.TempDir()
		all := b.ranks(2, 1, cut, func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Spool = dir })
		saveOn(t, all, at(1), false)
		time.Sleep(time.Minute) // virtual
		if files, bytes := spooled(t, dir); files != 2 || bytes == 0 {
			t.Errorf("%d files of %d bytes wait", files, bytes)
		}
		waitAll(t, all)
		if files, _ := spooled(t, dir); files != 0 || b.count() != 1 {
			t.Errorf("%d files are left, %d reported", files, b.count())
		}
		b.verify(t, 5)
	})
}
