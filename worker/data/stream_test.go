package data

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/memstore"
)

// sharded puts a dataset of several shards into a store.
func sharded(t *testing.T, rows int, regression bool) *memstore.Store {
	t.Helper()
	return build(t, table(rows), func(o *dataset.Options) {
		o.Normalize = dataset.Normalize{Method: dataset.MethodStandard}
		o.Limits.ShardBytes = 16 * 30 // rows of 16 bytes
		if regression {
			o.Task = dataset.TaskRegression
		}
	})
}

// open streams the training split of a dataset, whatever its size.
func open(t *testing.T, store storage.Store, cache Cache, full func(string)) *Stream {
	t.Helper()
	set, err := Load(t.Context(), store, "datasets/d", Options{Splits: []string{Train}, Memory: 1, Cache: cache, Full: full})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set.Source(Train).(*Stream)
}

func whole(t *testing.T, store storage.Store) *Split {
	t.Helper()
	set, err := Load(t.Context(), store, "datasets/d", Options{Splits: []string{Train}})
	if err != nil {
		t.Fatal(err)
	}
	return set.Split(Train)
}

// Memory, the cache and the store give the same bits, whatever part of the split has room.
func TestStreamEqualsMemory(t *testing.T) {
	stores := map[string]*memstore.Store{
		"classes": sharded(t, 200, false), "targets": sharded(t, 200, true), "text": novel(t, strings.Repeat("a bright cold day in April ", 40), 7, 8*20),
	}
	for name, store := range stores {
		memory := whole(t, store)
		rapid.Check(t, func(rt *rapid.T) {
			dir, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				rt.Fatal(err)
			}
			room := rapid.Int64Range(0, 8).Draw(rt, "shards with room")
			s := open(t, store, Cache{Dir: dir, Bytes: 2000 * room}, nil)
			if len(s.shards) < 5 || s.Len() != memory.Len() {
				rt.Fatalf("%d rows in %d shards", s.Len(), len(s.shards))
			}
			var got, want Batch
			for range 3 {
				rows := rapid.SliceOfN(rapid.Int32Range(0, int32(memory.Rows-1)), 0, 20).Draw(rt, "rows")
				if rapid.Bool().Draw(rt, "in order") {
					slices.Sort(rows)
				}
				if err := s.Gather(t.Context(), &got, rows); err != nil {
					rt.Fatal(err)
				}
				memory.Batch.Gather(&want, rows)
				same := slices.EqualFunc(got.X, want.X, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
				if !same || got.Rows != want.Rows || !slices.Equal(got.Shape, want.Shape) || !slices.Equal(got.Labels, want.Labels) || !slices.Equal(got.Targets, want.Targets) {
					rt.Fatalf("%s, rows %v: streamed %v, in memory %v", name, rows, got, want)
				}
			}
			if used := folderBytes(t, dir); used > 2000*room {
				rt.Fatalf("%d bytes in a cache of %d", used, 2000*room)
			}
		})
	}
}

func folderBytes(t *testing.T, dir string) (sum int64) {
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
		sum += info.Size()
	}
	return sum
}

func allRows(s Source) (rows []int32) {
	for row := range s.Len() {
		rows = append(rows, int32(row))
	}
	return rows
}

// counted counts the whole readings and the readings of a part.
func counted(store *memstore.Store) (s storage.Store, whole, part func() int) {
	c := &counter{Store: store}
	return c, func() int { c.mu.Lock(); defer c.mu.Unlock(); return c.whole }, func() int { c.mu.Lock(); defer c.mu.Unlock(); return c.part }
}

type counter struct {
	*memstore.Store
	mu          sync.Mutex
	whole, part int
}

func (c *counter) Get(ctx context.Context, key string) (r io.ReadCloser, i storage.Info, err error) {
	if strings.HasSuffix(key, ".arrow") {
		c.mu.Lock()
		c.whole++
		c.mu.Unlock()
	}
	return c.Store.Get(ctx, key)
}

func (c *counter) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	c.mu.Lock()
	c.part++
	c.mu.Unlock()
	return c.Store.GetRange(ctx, key, off, n)
}

func TestCacheIsSharedAndBounded(t *testing.T) {
	dir := t.TempDir()
	store, gets, parts := counted(sharded(t, 200, false))
	room := Cache{Dir: dir, Bytes: 1 << 20}
	full := 0
	var streams []*Stream
	var wg sync.WaitGroup
	for range 3 { // ranks of one node, at once
		s := open(t, store, room, func(string) { full++ })
		streams = append(streams, s)
		wg.Go(func() {
			if err := s.Gather(t.Context(), &Batch{}, allRows(s)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	shards := len(streams[0].shards)
	if gets() != shards || parts() != 0 || full != 0 {
		t.Errorf("%d shards were read %d times, and %d parts of them; %d complaints", shards, gets(), parts(), full)
	}
	// Another dataset finds no room while the files are in use.
	other := sharded(t, 120, true)
	tight := Cache{Dir: dir, Bytes: folderBytes(t, dir)}
	s := open(t, other, tight, func(string) { full++ })
	for range 2 {
		if err := s.Gather(t.Context(), &Batch{}, allRows(s)); err != nil {
			t.Fatal(err)
		}
	}
	if full != 1 {
		t.Errorf("%d complaints of a cache that is full", full)
	}
	if got := folderBytes(t, dir); got != tight.Bytes {
		t.Errorf("%d bytes in a cache of %d", got, tight.Bytes)
	}
	// When nobody uses them, those that were used longest ago give way.
	for i, sh := range streams[0].shards {
		at := time.Unix(int64(1000-i), 0)
		if err := os.Chtimes(filepath.Join(dir, sh.SHA256), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range streams {
		s.Close()
	}
	s = open(t, other, tight, func(string) { full++ })
	if err := s.Gather(t.Context(), &Batch{}, []int32{0}); err != nil {
		t.Fatal(err)
	}
	last := streams[0].shards[shards-1].SHA256
	if _, err := os.Stat(filepath.Join(dir, last)); !errors.Is(err, os.ErrNotExist) || full != 1 {
		t.Errorf("the file used longest ago is there (%v), %d complaints", err, full)
	}
	if _, err := os.Stat(filepath.Join(dir, streams[0].shards[0].SHA256)); err != nil {
		t.Errorf("the file used last is gone: %v", err)
	}
	if got := folderBytes(t, dir); got > tight.Bytes {
		t.Errorf("%d bytes in a cache of %d", got, tight.Bytes)
	}
}

// What a process that was killed left half done is taken over.
func TestCacheAfterACrash(t *testing.T) {
	store := sharded(t, 100, false)
	dir := t.TempDir()
	s := open(t, store, Cache{Dir: dir, Bytes: 1 << 20}, nil)
	if err := os.WriteFile(filepath.Join(dir, s.shards[0].SHA256+partial), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Gather(t.Context(), &Batch{}, []int32{0}); err != nil || s.shards[0].file == nil {
		t.Errorf("error %v, cached: %v", err, s.shards[0].file != nil)
	}
}

func TestStreamRefusesDamage(t *testing.T) {
	for _, room := range []int64{0, 1 << 20} {
		store := sharded(t, 100, false)
		if err := store.Flip("datasets/d/train-00002.arrow", 4000); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		s := open(t, store, Cache{Dir: dir, Bytes: room}, nil)
		if err := s.Gather(t.Context(), &Batch{}, []int32{0}); err != nil {
			t.Errorf("a sound shard: %v", err)
		}
		for range 2 {
			if err := s.Gather(t.Context(), &Batch{}, allRows(s)); !errors.Is(err, dataset.ErrCorrupt) {
				t.Errorf("a flipped bit gave %v", err)
			}
		}
		if name := filepath.Join(dir, s.shards[2].SHA256); fileThere(name) || fileThere(name+partial) {
			t.Error("the damaged shard was kept")
		}
		store.Overwrite("datasets/d/train-00001.arrow", []byte("short"))
		if err := open(t, store, Cache{Dir: t.TempDir(), Bytes: room}, nil).Gather(t.Context(), &Batch{}, []int32{45}); !errors.Is(err, dataset.ErrCorrupt) {
			t.Errorf("a short shard gave %v", err)
		}
	}
}

func fileThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// An outage in the middle of an epoch is waited for, and costs no row.
func TestStreamThroughAnOutage(t *testing.T) {
	for _, room := range []int64{0, 1 << 20} {
		plain := sharded(t, 200, false)
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			away := memstore.New(memstore.Config{Hook: func(_ context.Context, op memstore.Op) memstore.Fault {
				since := time.Since(begin)
				if op.N > 5 && since < 10*time.Minute {
					return memstore.Fault{Err: storage.ErrUnavailable}
				}
				return memstore.Fault{}
			}})
			for _, key := range plain.Keys() {
				b, err := plain.Bytes(key)
				if err != nil {
					t.Fatal(err)
				}
				away.Overwrite(key, b)
			}
			s := open(t, away, Cache{Dir: dir, Bytes: room}, nil)
			memory := whole(t, plain)
			feed := feedOf(t, s, 7)
			feed.Seek(Cursor{}, 0, 1)
			oracle, err := NewOrder(memory.Len(), 7, 1)
			if err != nil {
				t.Fatal(err)
			}
			told := 0
			for cursor := (Cursor{}); cursor.Epoch == 0; {
				piece, err := feed.Next(t.Context(), func() { told++ })
				if err != nil {
					t.Fatal(err)
				}
				rows, next, err := oracle.At(cursor)
				if err != nil {
					t.Fatal(err)
				}
				var want Batch
				memory.Batch.Gather(&want, rows)
				if !slices.Equal(piece.X, want.X) || piece.Next != next {
					t.Fatalf("at %v other rows", cursor)
				}
				cursor = next
			}
			if told != 1 {
				t.Errorf("told %d times", told)
			}
		})
	}
}

func TestStreamRefusesRowsThatAreNot(t *testing.T) {
	s := open(t, sharded(t, 100, false), Cache{}, nil)
	for _, row := range []int32{-1, int32(s.Len())} {
		if err := s.Gather(t.Context(), &Batch{}, []int32{row}); err == nil {
			t.Errorf("row %d was given", row)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Gather(ctx, &Batch{}, []int32{0}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestSmallSplitsStayInMemory(t *testing.T) {
	store := sharded(t, 100, false)
	for limit, streamed := range map[int64]bool{0: false, 80 * 16: false, 80*16 - 1: true} {
		set, err := Load(t.Context(), store, "datasets/d", Options{Splits: []string{Train}, Memory: limit, Cache: Cache{Dir: t.TempDir(), Bytes: 1 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		if (set.Split(Train) == nil) != streamed || set.Source(Train).Len() != 80 {
			t.Errorf("limit %d: streamed %v", limit, set.Split(Train) == nil)
		}
		set.Close()
	}
}
