package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tandem.dev/coordinator/spec"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/torchscript"
)

// checkModelFile looks at a user's own model before a job is made of it: a file that an engine would refuse takes no slot.
func (a jobs) checkModelFile(ctx context.Context, sha string) error {
	const path = "model.torchscript.file" // users know no other; the CLI puts the hash in
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	info, err := store.Head(ctx, layout.Artifact(sha))
	if errors.Is(err, storage.ErrNotFound) {
		return spec.Wrong(path, "the file of SHA-256 "+sha+", which artifact names, was not uploaded")
	}
	if err == nil {
		_, err = torchscript.Inspect(&blockReader{ctx: ctx, store: store, key: layout.Artifact(sha), size: info.Size}, info.Size)
	}
	if errors.Is(err, torchscript.ErrFormat) || errors.Is(err, torchscript.ErrRefused) {
		return spec.Wrong(path, err.Error())
	}
	if err != nil {
		return fmt.Errorf("look at the model file: %w", err)
	}
	return nil
}

// blockBytes is how much of an object is read at a time: the directory of an archive and its code are a few blocks.
const blockBytes = 1 << 20

// blockReader reads an object of a store at any place. It is not safe for concurrent use.
type blockReader struct {
	ctx   context.Context
	store storage.Store
	key   string
	size  int64
	from  int64
	block []byte
}

// ReadAt implements io.ReaderAt.
func (r *blockReader) ReadAt(p []byte, off int64) (n int, err error) {
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

func (r *blockReader) fetch(from int64) error {
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
