package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/checkpoint"
)

// large is a state whose share is too large to wait in memory: a tensor of as many bytes as a shard may have, between two of one
// byte, so that it is three shards. Its copies share their bytes.
type large struct {
	data []byte
	held *int // copies taken
	used *int // of them in memory of earlier ones
}

func newLarge() large {
	return large{data: make([]byte, shardBytes), held: new(int), used: new(int)}
}

func (l large) StateSizes() ([]string, []int64, error) {
	return []string{"model.a", "model.b", "model.c"}, []int64{1, int64(len(l.data)), 1}, nil
}

func (l large) StateOf(names []string, spare []safetensors.Tensor) (all []safetensors.Tensor, _ error) {
	*l.held++
	if len(spare) == len(names) {
		*l.used++
	}
	for _, name := range names {
		data := []byte(name[len(name)-1:])
		if name == "model.b" {
			data = l.data
		}
		all = append(all, safetensors.Tensor{Name: name, DType: "U8", Shape: []int64{int64(len(data))}, Data: data})
	}
	return all, nil
}

func spooled(t *testing.T, dir string) (files int, bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		files, bytes = files+1, bytes+info.Size()
	}
	return files, bytes
}

// The store is away for 30 minutes, or full. No step waits, the newest and the best wait on disk
// within the limit, and come to the store when it serves, the oldest first. People are told once.
func TestOutageOf30Minutes(t *testing.T) {
	for _, c := range []struct {
		world int
		fault error
		told  string
	}{
		{1, storage.ErrUnavailable, "true the store does not serve, true"},
		{3, storage.ErrUnavailable, "true the store does not serve, true"},
		{1, storage.ErrFull, "true the store is full: the n, true"},
		{3, storage.ErrFull, "true the store is full: the n, true"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			var out atomic.Bool
			b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
				writes := op.Kind == memstore.OpPut || op.Kind == memstore.OpPutIfAbsent
				if out.Load() && (writes || !errors.Is(c.fault, storage.ErrFull)) {
					time.Sleep(3 * time.Second) // virtual: that is found out late
					return memstore.Fault{Err: c.fault}
				}
				return memstore.Fault{}
			}
			dir := filepath.Join(t.TempDir(), "spool")
			var told []string
			all := b.ranks(c.world, 1, func(k *checkpoint.Config, d *checkpoint.Deps) {
				k.Spool = dir
				d.Tell = func(_ context.Context, warning bool, message string) {
					b.mu.Lock()
					defer b.mu.Unlock()
					told = append(told, fmt.Sprintf("%v %.24s, %v", warning, message, strings.Contains(message, c.fault.Error())))
				}
			})
			saveOn(t, all, evaluated(1, 1), false)
			time.Sleep(time.Minute)
			out.Store(true)
			for step := int64(2); step <= 31; step++ {
				saveOn(t, all, evaluated(step, min(step, 7)), false)
				time.Sleep(time.Minute)
				if n, _ := spooled(t, dir); n > 2*c.world {
					t.Errorf("%d files wait at step %d", n, step)
				}
			}
			out.Store(false)
			time.Sleep(time.Minute)
			if got := b.steps(); !slices.Equal(got, []int64{1, 7, 31}) {
				t.Errorf("%d ranks kept %v, want what was before, the best and the newest", c.world, got)
			}
			if n, _ := spooled(t, dir); n != 0 {
				t.Errorf("%d files are left", n)
			}
			b.mu.Lock()
			if want := []string{c.told, "false the store serves again; , false"}; !slices.Equal(told, want) {
				t.Errorf("people are told %q, want %q", told, want)
			}
			b.mu.Unlock()
			saveOn(t, all, evaluated(32, 7), true)
			waitAll(t, all)
			if got := b.steps(); got[len(got)-1] != 32 {
				t.Errorf("kept %v after the outage", got)
			}
		})
	}
}

// The parts of both checkpoints that waited come while rank 0 looks for them: both are kept, not the newest alone.
func TestPartsComeWhileTheyAreLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		var out atomic.Bool
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		newest := layout.Checkpoint("trials/trial-1/ckpt", 3, 1)
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			switch {
			case out.Load():
				return memstore.Fault{Err: storage.ErrUnavailable}
			case op.Kind == memstore.OpPutIfAbsent && strings.HasSuffix(op.Key, "00001.json"): // the word of rank 1
				<-gate
			case op.Kind == memstore.OpList && strings.HasPrefix(op.Key, newest):
				open()
				time.Sleep(time.Second) // virtual: all that rank 1 can do is done
			}
			return memstore.Fault{}
		}
		all := b.ranks(2, 1, func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Spool = filepath.Join(t.TempDir(), "spool") })
		out.Store(true)
		for _, step := range []int64{2, 3} {
			saveOn(t, all, evaluated(step, 2), false)
			time.Sleep(time.Minute)
		}
		out.Store(false)
		waitAll(t, all)
		if got := b.steps(); !slices.Equal(got, []int64{2, 3}) {
			t.Errorf("kept %v, want the best and the newest", got)
		}
	})
}

// A store that is full can be read: that parts of other ranks are looked for is no sign of room.
func TestFullStoreWithPartsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		var full, freed atomic.Bool
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			writes := op.Kind == memstore.OpPut || op.Kind == memstore.OpPutIfAbsent
			if writes && !freed.Load() && (full.Load() || strings.HasSuffix(op.Key, "00001.json")) {
				return memstore.Fault{Err: storage.ErrFull}
			}
			return memstore.Fault{}
		}
		dir := filepath.Join(t.TempDir(), "spool")
		var told []string
		all := b.ranks(2, 1, func(c *checkpoint.Config, d *checkpoint.Deps) {
			c.Spool = dir
			d.Tell = func(_ context.Context, _ bool, message string) { told = append(told, message) }
		})
		saveOn(t, all, evaluated(2, 2), false) // that of rank 0 is there, and it waits for rank 1
		time.Sleep(time.Minute)
		full.Store(true)
		saveOn(t, all, evaluated(3, 2), false)
		time.Sleep(10 * time.Minute)
		if n, _ := spooled(t, dir); n != 3 {
			t.Errorf("%d shares wait on disk, want both of rank 1 and the newest of rank 0", n)
		}
		if len(told) != 1 || !strings.Contains(told[0], "is full") {
			t.Errorf("told %q", told)
		}
		freed.Store(true)
		waitAll(t, all)
		if got := b.steps(); !slices.Equal(got, []int64{2, 3}) {
			t.Errorf("kept %v", got)
		}
	})
}

// The store is full when a training ends: its end waits for room, however long that takes, and the last checkpoint is kept.
func TestEndWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		back := time.Now().Add(24 * time.Hour)
		tries := 0
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			if op.Kind != memstore.OpPut && op.Kind != memstore.OpPutIfAbsent || time.Now().After(back) {
				return memstore.Fault{}
			}
			tries++
			return memstore.Fault{Err: storage.ErrFull}
		}
		k := b.keeper(func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Spool = filepath.Join(t.TempDir(), "spool") })
		if err := k.Save(t.Context(), at(60), state(60), true); err != nil {
			t.Fatal(err)
		}
		told := 0
		if err := k.Wait(t.Context(), func() { told++ }); err != nil || told != 1 {
			t.Errorf("waited with %v, told %d times", err, told)
		}
		if late := time.Since(back); late < 0 || late > 31*time.Second || !slices.Equal(b.steps(), []int64{60}) {
			t.Errorf("kept %v %v after there was room", b.steps(), late)
		}
		if tries > 24*60*2+10 {
			t.Errorf("%d tries in a day", tries)
		}
		k.Close(t.Context())
	})
}

// A large state is never held twice: it waits on disk, is left out, or takes the place of one that waits.
func TestLargeStateInAnOutage(t *testing.T) {
	for name, c := range map[string]struct {
		limit int64
		dir   func(string) string
		kept  []int64
	}{
		"room for two":  {limit: 100 << 20, kept: []int64{3, 9}},
		"room for one":  {limit: 50 << 20, kept: []int64{9}},
		"room for none": {limit: 1, kept: []int64{9}},
		"no disk":       {dir: func(d string) string { return d + "/file/spool" }, kept: []int64{9}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			var away atomic.Bool
			away.Store(true)
			b.hook = func(context.Context, memstore.Op) memstore.Fault {
				if away.Load() {
					return memstore.Fault{Err: storage.ErrUnavailable}
				}
				return memstore.Fault{}
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(dir, "spool")
			if c.dir != nil {
				at = c.dir(dir)
			}
			k := b.keeper(func(k *checkpoint.Config, _ *checkpoint.Deps) { k.Spool, k.SpoolBytes = at, c.limit })
			state := newLarge()
			for step := range int64(10) {
				m := evaluated(step, min(step, 3))
				begin := time.Now()
				if err := k.Save(t.Context(), m, state, false); err != nil || time.Since(begin) != 0 {
					t.Fatalf("%s: step %d: %v after %v", name, step, err, time.Since(begin))
				}
				if *state.held != int(step)+1 {
					t.Errorf("%s: %d copies at step %d", name, *state.held, step)
				}
				time.Sleep(time.Minute)
				if c.dir != nil {
					continue
				}
				if _, bytes := spooled(t, at); bytes > c.limit {
					t.Errorf("%s: %d bytes wait", name, bytes)
				}
			}
			away.Store(false)
			if err := k.Wait(t.Context(), func() {}); err != nil {
				t.Error(err)
			}
			if got := b.steps(); !slices.Equal(got, c.kept) {
				t.Errorf("%s: kept %v, want %v", name, got, c.kept)
			}
			for _, c := range b.reported {
				if _, err := ckpt.Verify(t.Context(), b.store, c.GetPrefix()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// While a large share is being written, the next is left out, and the last waits for it.
func TestLargeStateIsLeftOutWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
			if op.Kind == memstore.OpPut {
				time.Sleep(2500 * time.Millisecond) // virtual
			}
			return memstore.Fault{}
		}
		var log strings.Builder
		var warned []string
		k := b.keeper(logTo(&log), func(_ *checkpoint.Config, d *checkpoint.Deps) {
			d.Tell = func(_ context.Context, _ bool, message string) { warned = append(warned, message) }
		})
		state := newLarge()
		for step := int64(1); step <= 9; step++ {
			if err := k.Save(t.Context(), at(step), state, step == 9); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := k.Wait(t.Context(), never(t)); err != nil {
			t.Fatal(err)
		}
		if got := b.steps(); !slices.Equal(got, []int64{1, 4, 7, 9}) || *state.held != 4 || *state.used != 3 {
			t.Errorf("kept %v with %d copies, %d of them in memory that was there", got, *state.held, *state.used)
		}
		if s := k.Stats(); s.LeftOut != 5 || s.Committed != 4 {
			t.Errorf("counted %+v", s)
		}
		if len(warned) != 1 || !strings.HasPrefix(warned[0], "a checkpoint of 41 MB took 2.5s, the next was due after 1s") {
			t.Errorf("people are told %q", warned)
		}
		if n := strings.Count(log.String(), "raise checkpoint.every_steps"); n != 1 {
			t.Errorf("it is told %d times that checkpoints are slow:\n%s", n, log.String())
		}
	})
}

// The memory of the first large copy is there before it is needed; a small one needs none.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		k := b.keeper()
		state := newLarge()
		for range 2 { // each group does
			if err := k.Reserve(state); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := k.Save(t.Context(), at(1), state, true); err != nil {
			t.Fatal(err)
		}
		if *state.used != 1 {
			t.Error("no memory was ready")
		}
		k.Close(t.Context())

		small := large{data: make([]byte, 1<<20), held: new(int), used: new(int)}
		k = b.keeper()
		if err := k.Reserve(small); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := k.Save(t.Context(), at(2), small, true); err != nil || *small.used != 0 {
			t.Errorf("%v, %d copies had memory ready", err, *small.used)
		}
		k.Close(t.Context())
	})
}

// A spool that was begun is not left behind.
func TestCloseEmptiesTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.hook = func(context.Context, memstore.Op) memstore.Fault {
			return memstore.Fault{Err: storage.ErrUnavailable}
		}
		dir := t.TempDir()
		k := b.keeper(func(c *checkpoint.Config, _ *checkpoint.Deps) { c.Spool = dir })
		instant(t, k, at(1))
		time.Sleep(time.Minute)
		if n, _ := spooled(t, dir); n != 1 {
			t.Errorf("%d files wait", n)
		}
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		k.Close(ended)
		if n, _ := spooled(t, dir); n != 0 {
			t.Errorf("%d files are left", n)
		}
	})
}

// TestSpoolOf: what may wait on the disk leaves room for what else an engine writes.
func TestSpoolOf(t *testing.T) {
	const gib = 1 << 30
	for disk, want := range map[int64]int64{0: 8 * gib, 16 * gib: 8 * gib, 100 * gib: 8 * gib, 2 * gib: gib, 1: 1} {
		if got := checkpoint.SpoolOf(disk); got != want {
			t.Errorf("%d bytes of disk: %d may wait there, want %d", disk, got, want)
		}
	}
}
