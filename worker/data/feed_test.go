package data

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numbered returns a split whose values tell the row.
func numbered(rows int) *Split {
	s := &Split{Name: Train, Batch: Batch{Rows: rows, Shape: []int64{2}}}
	for row := range rows {
		s.X = append(s.X, float32(row), float32(row)+0.5)
		s.Labels = append(s.Labels, int64(row))
	}
	return s
}

func never() { panic("the store was called away") }

// What a feed gives is what the old loop gathered on the spot, at any place, for any share,
// wherever it is told to go on in between.
func TestFeedEqualsGather(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 60).Draw(t, "rows")
		batch := rapid.IntRange(1, rows).Draw(t, "batch")
		seed := rapid.Int64().Draw(t, "seed")
		split := numbered(rows)
		order, err := NewOrder(rows, batch, seed)
		if err != nil {
			t.Fatal(err)
		}
		oracle, _ := NewOrder(rows, batch, seed)
		feed := NewFeed(split, order)
		defer feed.Close()
		var cursor Cursor
		rank, world := 0, 1
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if i == 0 || rapid.IntRange(0, 4).Draw(t, "seek") == 0 {
				world = rapid.IntRange(1, 5).Draw(t, "world")
				rank = rapid.IntRange(0, world-1).Draw(t, "rank")
				if rapid.Bool().Draw(t, "elsewhere") {
					cursor = Cursor{rapid.Int64Range(0, 3).Draw(t, "epoch"), rapid.Int64Range(0, int64(rows)-1).Draw(t, "position")}
				}
				feed.Seek(cursor, rank, world)
			}
			global, next, err := oracle.At(cursor)
			if err != nil {
				t.Fatal(err)
			}
			lo, hi := Share(len(global), rank, world)
			var want Batch
			split.Batch.Gather(&want, global[lo:hi])
			piece, err := feed.Next(t.Context(), never)
			if err != nil {
				t.Fatal(err)
			}
			if piece.Global != len(global) || piece.Next != next {
				t.Fatalf("%d rows, then %v; want %d, then %v", piece.Global, piece.Next, len(global), next)
			}
			if piece.Rows != want.Rows || !slices.Equal(piece.X, want.X) || !slices.Equal(piece.Labels, want.Labels) {
				t.Fatalf("rank %d of %d at %v was given %v, want %v", rank, world, cursor, piece.Batch, want)
			}
			cursor = next
		}
	})
}

// slow is a source that takes its time and may fail.
type slow struct {
	Source
	took   time.Duration
	fail   func() error
	served int
}

func (s *slow) Gather(ctx context.Context, dst *Batch, rows []int32) error {
	select {
	case <-time.After(s.took):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return err
		}
	}
	s.served++
	return s.Source.Gather(ctx, dst, rows)
}

func feedOf(t *testing.T, s Source, batch int) *Feed {
	t.Helper()
	order, err := NewOrder(s.Len(), batch, 1)
	if err != nil {
		t.Fatal(err)
	}
	feed := NewFeed(s, order)
	t.Cleanup(feed.Close)
	return feed
}

func TestFeedPreparesAheadAndTellsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := feedOf(t, &slow{Source: numbered(100), took: time.Second}, 5)
		feed.Seek(Cursor{}, 0, 1)
		next := func() time.Duration {
			t.Helper()
			piece, err := feed.Next(t.Context(), never)
			if err != nil {
				t.Fatal(err)
			}
			return piece.Wait
		}
		if got := next(); got != time.Second {
			t.Errorf("the first was waited for %v", got)
		}
		time.Sleep(time.Minute)
		for i := range ahead {
			if got := next(); got != 0 {
				t.Errorf("batch %d was not ready: waited %v", i, got)
			}
		}
		time.Sleep(300 * time.Millisecond)
		if got := next(); got != 700*time.Millisecond {
			t.Errorf("waited %v for a batch that was begun 300 ms before", got)
		}
	})
}

func TestFeedWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		gone := fmt.Errorf("get shard: %w", storage.ErrUnavailable)
		feed := feedOf(t, &slow{Source: numbered(20), fail: func() error {
			if time.Since(begin) < 30*time.Minute {
				return gone
			}
			return nil
		}}, 5)
		feed.Seek(Cursor{}, 0, 1)
		told := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := feed.Next(ctx, func() { told++ })
		if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || told != 1 {
			t.Fatalf("a wait that was ended gave %v, told %d times", err, told)
		}
		piece, err := feed.Next(t.Context(), never) // told already
		if err != nil || piece.Next != (Cursor{0, 5}) {
			t.Fatalf("the place did not stay: %v, %v", piece.Next, err)
		}
		if piece.Wait < 28*time.Minute || piece.Wait > 30*time.Minute {
			t.Errorf("waited %v", piece.Wait)
		}
	})
}

func TestFeedFailsUntilSeek(t *testing.T) {
	bad := true
	source := &slow{Source: numbered(20), fail: func() error {
		if bad {
			return fmt.Errorf("shard 3: %w", dataset.ErrCorrupt)
		}
		return nil
	}}
	feed := feedOf(t, source, 5)
	if _, err := feed.Next(t.Context(), never); err == nil {
		t.Error("it gave something before Seek")
	}
	feed.Seek(Cursor{}, 0, 1)
	for range 3 {
		if _, err := feed.Next(t.Context(), never); !errors.Is(err, dataset.ErrCorrupt) {
			t.Fatalf("got %v", err)
		}
	}
	feed.Close()
	bad = false
	feed.Seek(Cursor{0, 10}, 0, 1)
	if piece, err := feed.Next(t.Context(), never); err != nil || piece.Next != (Cursor{0, 15}) {
		t.Errorf("after Seek: %v, %v", piece.Next, err)
	}
	feed.Seek(Cursor{0, 20}, 0, 1)
	if _, err := feed.Next(t.Context(), never); err == nil {
		t.Error("a place outside the split was accepted")
	}
}

// A batch is overwritten by no later one while the caller has it.
func TestFeedLeavesTheCallersBatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := feedOf(t, numbered(100), 5)
		feed.Seek(Cursor{}, 0, 1)
		for range 50 {
			piece, err := feed.Next(t.Context(), never)
			if err != nil {
				t.Fatal(err)
			}
			before := slices.Clone(piece.X)
			synctest.Wait() // all that can be prepared is
			if diff := cmp.Diff(before, piece.X); diff != "" {
				t.Fatalf("the batch changed (-then +now):\n%s", diff)
			}
		}
	})
}

func TestSlices(t *testing.T) {
	s := NewSlices(numbered(10))
	for _, at := range [][2]int{{0, 4}, {4, 8}, {8, 10}, {3, 3}} {
		b, err := s.Read(t.Context(), at[0], at[1], never)
		if err != nil {
			t.Fatal(err)
		}
		want := numbered(10).Slice(at[0], at[1])
		if b.Rows != want.Rows || !slices.Equal(b.X, want.X) || !slices.Equal(b.Labels, want.Labels) {
			t.Errorf("rows %v are %v, want %v", at, b, want)
		}
	}
}

func TestEpochs(t *testing.T) {
	if got := (Cursor{3, 5}).Epochs(20); got != 3.25 {
		t.Errorf("got %v", got)
	}
}
