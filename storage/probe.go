package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// Probe finds out whether a store keeps the promises that commits rest on: reading after
// writing, conditional writing, listing and deleting. It writes a few bytes under "probe/"
// and takes them away again. A store that fails must not be used.
func Probe(ctx context.Context, s Store) (err error) {
	id := rand.Text()
	folder := "probe/" + id
	key := folder + "/commit"
	defer func() {
		// Best effort: what is left behind is a few bytes that nothing reads.
		_ = s.Delete(context.WithoutCancel(ctx), key)
	}()
	first, second := []byte("first "+id), []byte("second "+id)

	if _, err := s.Head(ctx, key); !errors.Is(err, ErrNotFound) {
		return probeError("look for a key that was never written", err, "an unused key must be reported as not found")
	}
	if err := s.PutIfAbsent(ctx, key, first); err != nil {
		return probeError("write a new object", err, "check the bucket, the credentials and the free space")
	}
	if err := s.PutIfAbsent(ctx, key, second); !errors.Is(err, ErrExists) {
		return probeError("write the same key conditionally again", err,
			"the store must honour 'If-None-Match: *' on PutObject; without it two writers could both commit. Use a store that does (AWS S3, MinIO, Ceph, Garage, versitygw)")
	}
	got, err := ReadAll(ctx, s, key, 1<<10)
	if err != nil {
		return probeError("read what was just written", err, "the store must be consistent: a write is seen by the next read")
	}
	if !bytes.Equal(got, first) {
		return probeError("read what was just written", nil, fmt.Sprintf("got %q instead of %q: a refused write must change nothing", got, first))
	}
	n := 0
	for info, err := range s.List(ctx, folder+"/") {
		if err != nil {
			return probeError("list", err, "the credentials must allow listing the bucket")
		}
		if info.Key == key {
			n++
		}
	}
	if n != 1 {
		return probeError("list what was just written", nil, fmt.Sprintf("the object was listed %d times instead of once", n))
	}
	if err := s.Delete(ctx, key); err != nil {
		return probeError("delete", err, "the credentials must allow deleting objects")
	}
	if _, err := s.Head(ctx, key); !errors.Is(err, ErrNotFound) {
		return probeError("look for a deleted object", err, "a deleted object must not be found again")
	}
	return nil
}

// probeError says what was tried, what happened and what to do. err is nil where the store
// answered with success but should not have.
func probeError(act string, err error, hint string) error {
	if err == nil {
		return fmt.Errorf("storage probe: %s: unexpected answer: %s", act, hint)
	}
	if errors.Is(err, ErrUnavailable) { // the error says what is to be done
		return fmt.Errorf("storage probe: %s: %w", act, err)
	}
	return fmt.Errorf("storage probe: %s: %w: %s", act, err, hint)
}
