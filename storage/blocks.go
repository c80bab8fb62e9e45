package storage

import (
	"context"
	"fmt"
	"io"
)

// blockBytes is how much of an object is read at a time: the directory of an archive and its code are a few blocks.
const blockBytes = 1 << 20

// Blocks reads an object of a store at any place, a MiB at a time. It is not safe for concurrent use.
type Blocks struct {
	ctx   context.Context
	store Store
	key   string
	size  int64
	from  int64
	block []byte
}

// NewBlocks returns Blocks of the object at key, which has size bytes.
func NewBlocks(ctx context.Context, s Store, key string, size int64) *Blocks {
	return &Blocks{ctx: ctx, store: s, key: key, size: size}
}

// ReadAt implements io.ReaderAt.
func (r *Blocks) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && off+int64(n) < r.size {
		at := off + int64(n)
		if at < r.from || at >= r.from+int64(len(r.block)) {
			if err := r.fetch(at / blockBytes * blockBytes); err != nil {
				return n, err
			}
		}
		n += copy(p[n:], r.block[at-r.from:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *Blocks) fetch(from int64) error {
	want := min(blockBytes, r.size-from)
	body, err := r.store.GetRange(r.ctx, r.key, from, want)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.key, err)
	}
	defer body.Close()
	r.block = make([]byte, want)
	r.from = from
	if _, err := io.ReadFull(body, r.block); err != nil {
		r.block = nil
		return fmt.Errorf("read %s: %w", r.key, err)
	}
	return nil
}
