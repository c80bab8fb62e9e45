package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tandem.dev/storage"
)

// RowBuffer is memory that Rows.Read uses again, and what it read.
type RowBuffer struct {
	Table
	raw []byte
}

// Rows reads rows of one shard by their place. It trusts the bytes: whoever makes one has
// seen that the shard's sha256 is right. It is safe for concurrent use.
type Rows struct {
	from   io.ReaderAt
	key    string
	rows   int64
	dim    int
	task   Task
	places []place
}

// Rows opens a shard that lies in from, such as a file.
func (m Manifest) Rows(from io.ReaderAt, sh Shard) (*Rows, error) {
	tail := make([]byte, min(shardTail, sh.Bytes))
	if _, err := from.ReadAt(tail, sh.Bytes-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("shard %s: %w", sh.Key, err)
	}
	places, err := placesIn(tail, sh.Bytes, sh.Rows, m.FeatureDim(), m.Task)
	if err != nil {
		return nil, fmt.Errorf("shard %s: %w", sh.Key, err)
	}
	return &Rows{from: from, key: sh.Key, rows: sh.Rows, dim: m.FeatureDim(), task: m.Task, places: places}, nil
}

// From returns the same rows, read from another place with the same bytes.
func (r *Rows) From(from io.ReaderAt) *Rows {
	other := *r
	other.from = from
	return &other
}

// Read reads the rows [lo, hi) into b, whose memory is used again.
func (r *Rows) Read(b *RowBuffer, lo, hi int64) error {
	if lo < 0 || hi < lo || hi > r.rows {
		return fmt.Errorf("shard %s: no rows %d to %d in %d", r.key, lo, hi, r.rows)
	}
	b.Table = Table{Rows: int(hi - lo), FeatureDim: r.dim, Features: b.Features[:0], Labels: b.Labels[:0], Targets: b.Targets[:0], Text: b.Text[:0]}
	for _, p := range r.places {
		n := int((hi - lo) * p.width)
		if cap(b.raw) < n {
			b.raw = make([]byte, n)
		}
		b.raw = b.raw[:n]
		if _, err := r.from.ReadAt(b.raw, p.at+lo*p.width); err != nil {
			return fmt.Errorf("shard %s, rows %d to %d: %w", r.key, lo, hi, err)
		}
		b.decode(r.task, p.name, b.raw)
	}
	return nil
}

// Object opens a shard for reading from its beginning to its end. ErrCorrupt if it is not
// there or has another size than the manifest says.
func (d *Dataset) Object(ctx context.Context, sh Shard) (io.ReadCloser, error) {
	r, info, err := d.store.Get(ctx, d.prefix+"/"+sh.Key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, sh.Key, err)
	}
	if err != nil {
		return nil, err
	}
	if info.Size != sh.Bytes {
		_ = r.Close()
		return nil, fmt.Errorf("%w: shard %s has %d bytes instead of %d", ErrCorrupt, sh.Key, info.Size, sh.Bytes)
	}
	return r, nil
}

// Remote reads a shard in the store piece by piece; ctx is that of each reading.
func (d *Dataset) Remote(ctx context.Context, sh Shard) io.ReaderAt { return remote{ctx, d, sh} }

type remote struct {
	ctx   context.Context // of all readings: io.ReaderAt takes none
	data  *Dataset
	shard Shard
}

// ReadAt implements io.ReaderAt.
func (r remote) ReadAt(b []byte, off int64) (int, error) {
	body, err := r.data.store.GetRange(r.ctx, r.data.prefix+"/"+r.shard.Key, off, int64(len(b)))
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrSize) {
		return 0, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, r.shard.Key, err)
	}
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, b)
}
