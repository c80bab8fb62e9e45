package data

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tandem.dev/storage"
)

// Source gives rows of a split. Feed calls it from one goroutine at a time.
type Source interface {
	// Len is the number of rows.
	Len() int
	// Gather copies the given rows, normalised, into dst, whose memory is used again. Errors
	// match those of storage and storage/dataset; it returns soon when ctx ends.
	Gather(ctx context.Context, dst *Batch, rows []int32) error
}

// Piece is one rank's share of a global batch.
type Piece struct {
	Batch                // may have no rows
	Index  []int32       // which rows of the split they are
	Next   Cursor        // where the next global batch begins
	Global int           // rows of the global batch, over all ranks
	Wait   time.Duration // how long Feed.Next waited for it; 0 when it was ready
}

// ahead is how many batches a Feed prepares before they are asked for. It makes good the
// unevenness of reading, not its slowness.
const ahead = 4

// Feed gives one rank its share of the global batches of an Order, prepared by a goroutine
// before they are asked for, in memory that is used again. Its methods are for one
// goroutine.
type Feed struct {
	source  Source
	order   *Order
	buffers [ahead + 1]Batch // one is with the caller
	flight  *flight          // nil before Seek
}

// NewFeed returns a feed of the rows of source in the given order, which is the feed's from
// now on. Seek tells it where to begin.
func NewFeed(source Source, order *Order) *Feed { return &Feed{source: source, order: order} }

// flight is what goes on from one Seek to the next.
type flight struct {
	rank, world int

	cancel context.CancelFunc
	done   sync.WaitGroup
	free   chan *Batch
	ready  chan ready
	away   chan error // the store is unavailable: what it said

	given *Batch // with the caller
	err   error  // why there is no more
	last  error  // what the store said last
}

type ready struct {
	batch *Batch
	piece Piece
	err   error
}

// Seek makes c the place of the next batch, and this rank the one of world whose share it
// gives. What was prepared is thrown away, the batch that the caller has too.
func (f *Feed) Seek(c Cursor, rank, world int) {
	f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	t := &flight{
		rank: rank, world: world, cancel: cancel,
		free: make(chan *Batch, len(f.buffers)), ready: make(chan ready, len(f.buffers)), away: make(chan error, 1),
	}
	for i := range f.buffers {
		t.free <- &f.buffers[i]
	}
	f.flight = t
	t.done.Go(func() { f.fly(ctx, t, c) })
}

// fly prepares batches until the flight is cancelled or fails.
func (f *Feed) fly(ctx context.Context, t *flight, c Cursor) {
	for {
		var r ready
		select {
		case r.batch = <-t.free:
		case <-ctx.Done():
			return
		}
		r.piece, r.err = f.prepare(ctx, t, r.batch, c)
		t.ready <- r // has room for all buffers
		if r.err != nil {
			return
		}
		c = r.piece.Next
	}
}

// prepare fills b with the share at c. It waits for a store that is unavailable.
func (f *Feed) prepare(ctx context.Context, t *flight, b *Batch, c Cursor) (Piece, error) {
	rows, next, err := f.order.At(c)
	if err != nil {
		return Piece{}, err
	}
	lo, hi := Share(len(rows), t.rank, t.world)
	err = storage.Persist(ctx, func() error { return f.source.Gather(ctx, b, rows[lo:hi]) }, func(err error) {
		select {
		case t.away <- err:
		default: // Next has not asked since the last time
		}
	})
	if err != nil {
		return Piece{}, fmt.Errorf("rows of epoch %d from position %d: %w", c.Epoch, c.Position, err)
	}
	return Piece{Batch: *b, Index: rows[lo:hi], Next: next, Global: len(rows)}, nil
}

// Next returns the share at the place of the feed, which moves on. The batch is valid until
// the next call of any method. Next waits for a store that is unavailable; away is called
// once to tell so. When ctx ends the place stays, and Next can be called again; its error
// then matches storage.ErrUnavailable if that is what was waited for. Other errors match
// those of the source and stay until the next Seek.
func (f *Feed) Next(ctx context.Context, away func()) (Piece, error) {
	t := f.flight
	if t == nil {
		return Piece{}, errors.New("a feed gives nothing before Seek")
	}
	if t.err != nil {
		return Piece{}, t.err
	}
	if t.given != nil {
		t.free <- t.given
		t.given = nil
	}
	select {
	case r := <-t.ready:
		return t.take(r, 0)
	default:
	}
	begin, told := time.Now(), false
	for {
		select {
		case r := <-t.ready:
			return t.take(r, time.Since(begin))
		case t.last = <-t.away:
			if !told {
				told = true
				away()
			}
		case <-ctx.Done():
			return Piece{}, errors.Join(ctx.Err(), t.last)
		}
	}
}

func (t *flight) take(r ready, wait time.Duration) (Piece, error) {
	select {
	case t.last = <-t.away: // it is over
	default:
	}
	t.last = nil
	t.given, t.err = r.batch, r.err
	r.piece.Wait = wait
	return r.piece, r.err
}

// Close ends the goroutine of the feed. Seek makes it work again.
func (f *Feed) Close() {
	if f.flight != nil {
		f.flight.cancel()
		f.flight.done.Wait()
		f.flight = nil
	}
}
