package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
)

// TestCacheHandsOutToRead: who gets a shard, whether it was there or had to be fetched, can read it and cannot write to the cache.
func TestCacheHandsOutToRead(t *testing.T) {
	content := []byte("rows")
	sum := sha256.Sum256(content)
	sh := dataset.Shard{Key: "datasets/d/shard", SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(content))}
	c := Cache{Dir: t.TempDir(), Bytes: 1 << 20}
	for _, when := range []string{"fetched", "there already"} {
		f, err := c.File(t.Context(), sh, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Errorf("%s: the file can be written to", when)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %q, %v", when, got, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHandedErrors: what went wrong at the agent is the same error for the engine, which waits for a store and gives up on a damaged shard.
func TestHandedErrors(t *testing.T) {
	for _, want := range []error{ErrNoRoom, dataset.ErrCorrupt, storage.ErrNotFound, storage.ErrUnavailable} {
		h := Handed{Engine: "e", Ask: func(_ context.Context, r *tandemv1.FileRequest) (*os.File, error) {
			if r.GetEngineId() != "e" || r.GetShard().GetKey() != "k" {
				t.Errorf("request %v", r)
			}
			return nil, Coded(fmt.Errorf("at the agent: %w", want))
		}}
		if _, err := h.File(t.Context(), dataset.Shard{Key: "k"}, nil); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// TestFullDisk: a full or read-only disk of the node is known as such, and costs the cache; that of the store is another matter.
func TestFullDisk(t *testing.T) {
	for _, disk := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		err := fmt.Errorf("make cached shard: %w", &fs.PathError{Op: "open", Path: "/cache/x", Err: disk})
		if !Unwritable(err) {
			t.Errorf("%v is not known as the disk's", err)
		}
		c := Cache{Dir: t.TempDir(), Bytes: 1 << 20}
		if _, err := c.File(t.Context(), dataset.Shard{SHA256: "ab", Bytes: 7}, func() (io.ReadCloser, error) { return nil, err }); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%v, want that the rows are read from the store", err)
		}
	}
	if Unwritable(fmt.Errorf("keep a checkpoint: %w", storage.ErrFull)) {
		t.Error("the store's disk is taken for that of the node")
	}
}
