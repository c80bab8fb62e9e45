package agent

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/metric"
)

// fragile is a store that takes nothing while it is full.
type fragile struct {
	storage.Store
	full bool
}

func (f *fragile) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if f.full {
		return errors.Join(storage.ErrFull, func() error { _, err := io.Copy(io.Discard, r); return err }())
	}
	return f.Store.Put(ctx, key, r, size)
}

// TestGoodput: the time of ranks is counted once by its part: steps that a generation does again are redone, those that two ranks of one
// generation do are not, and what does not arrive, comes again, or cannot be, counts nothing.
func TestGoodput(t *testing.T) {
	var total metric.Ledger
	g := newGoodput(func(l metric.Ledger) {
		for part, d := range l {
			total[part] += d
		}
	}, func() map[string]bool { return map[string]bool{"trial-1": true} })
	under := &fragile{Store: memstore.New(memstore.Config{})}
	store := g.store(under)
	const second = int64(time.Second)
	segment := func(member string, generation int64, rank int, seq int64, beats ...metric.Beat) metric.Segment {
		return metric.Segment{Header: metric.Header{
			Kind: metric.Beats, Trial: "trial-1", Member: member, Generation: generation, Rank: rank, World: 2, Seq: seq, Begin: 1e18 + seq*second, Due: time.Second,
		}, Beats: beats}
	}
	beat := func(first, step int64, times metric.Times) metric.Beat {
		return metric.Beat{From: 1e18, First: first, Step: step, Times: times}
	}
	put := func(s metric.Segment, want error) {
		t.Helper()
		b, err := metric.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		body := storage.Announced{Reader: bytes.NewReader(b), CRC32C: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))}
		if err := store.Put(t.Context(), metric.Key(s.Header), body, int64(len(b))); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	work := metric.Times{metric.Forward: 3 * time.Second, metric.Data: time.Second}
	first := segment("a", 1, 0, 0, beat(0, 0, metric.Times{metric.Starting: 5 * time.Second}), beat(0, 100, work))
	under.full = true
	put(first, storage.ErrFull)
	under.full = false
	put(first, nil)
	put(first, nil)                                       // the answer was lost
	put(segment("b", 1, 1, 0, beat(0, 100, work)), nil)   // the other rank
	put(segment("b", 1, 1, 1, beat(100, 200, work)), nil) // it alone goes on,
	put(segment("c", 2, 0, 0, beat(150, 250, work)), nil) // and another goes back to step 150
	put(segment("c", 2, 0, 1, beat(250, 250, metric.Times{metric.Waiting: 2 * time.Second, metric.Lost: time.Second})), nil)
	put(segment("c", 2, 0, 2, beat(250, 260, metric.Times{metric.Evaluate: 48 * time.Hour})), nil)
	want := metric.Ledger{
		metric.Preparing: 5 * time.Second, metric.Useful: (3+3+3)*time.Second + 1500*time.Millisecond,
		metric.Redone: 1500*time.Millisecond + time.Second, metric.Stalled: 4 * time.Second, metric.Awaiting: 2 * time.Second,
	}
	if diff := cmp.Diff(want, total); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What is not of this kind, or no records at all, goes through.
	if err := store.Put(t.Context(), "trials/trial-1/ckpt/x", bytes.NewReader([]byte("x")), 1); err != nil || total != want {
		t.Error(err, total)
	}
	junk := []byte("junk")
	body := storage.Announced{Reader: bytes.NewReader(junk), CRC32C: crc32.Checksum(junk, crc32.MakeTable(crc32.Castagnoli))}
	if err := store.Put(t.Context(), metric.Key(segment("d", 1, 0, 0).Header), body, 4); err != nil || total != want {
		t.Error(err, total)
	}
}
