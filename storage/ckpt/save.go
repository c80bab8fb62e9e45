package ckpt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"tandem.dev/storage"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

// Save writes a checkpoint below prefix (see Prefix) and returns its manifest with Format
// and Shards filled in. Saving the very same checkpoint again is harmless; another one at
// the same prefix is ErrExists and leaves the first as it was. Tensor names must be unique
// over all shards. Whatever fails, nothing is committed unless Save returns nil or the
// answer to the last write was lost.
func Save(ctx context.Context, s storage.Store, prefix string, m Manifest, shards [][]safetensors.Tensor) (Manifest, error) {
	if err := unique(shards); err != nil {
		return Manifest{}, fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	m.Format, m.FormatVersion, m.Shards = format, formatVersion, nil
	files := make([][]byte, len(shards))
	for i, tensors := range shards {
		b, err := safetensors.Marshal(tensors, nil)
		if err != nil {
			return Manifest{}, fmt.Errorf("save checkpoint %s: shard %d: %w", prefix, i, err)
		}
		sum := sha256.Sum256(b)
		sha := hex.EncodeToString(sum[:])
		files[i] = b
		m.Shards = append(m.Shards, Shard{Key: shardKey(i, sha), SHA256: sha, Bytes: int64(len(b)), Tensors: len(tensors)})
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	manifest, err := sealed.Marshal(m)
	if err != nil {
		return Manifest{}, fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	if len(manifest) > maxManifest {
		return Manifest{}, fmt.Errorf("save checkpoint %s: a manifest of %d bytes, at most %d are allowed", prefix, len(manifest), maxManifest)
	}
	for i, b := range files {
		if err := s.Put(ctx, prefix+"/"+m.Shards[i].Key, bytes.NewReader(b), int64(len(b))); err != nil {
			return Manifest{}, fmt.Errorf("save checkpoint %s: %w", prefix, err)
		}
	}
	switch err := s.PutIfAbsent(ctx, prefix+"/"+manifestName, manifest); {
	case errors.Is(err, storage.ErrExists):
		return Manifest{}, fmt.Errorf("commit checkpoint %s: %w: %w", prefix, ErrExists, err)
	case err != nil:
		return Manifest{}, fmt.Errorf("commit checkpoint %s: %w", prefix, err)
	}
	return m, nil
}

func unique(shards [][]safetensors.Tensor) error {
	seen := map[string]bool{}
	for _, tensors := range shards {
		for _, t := range tensors {
			if seen[t.Name] {
				return fmt.Errorf("tensor %q is there twice", t.Name)
			}
			seen[t.Name] = true
		}
	}
	return nil
}

// Delete removes a checkpoint: the manifest first, so that at no time a committed one lacks
// a shard, then everything else below prefix. Deleting what is not there is no error.
func Delete(ctx context.Context, s storage.Store, prefix string) error {
	if err := s.Delete(ctx, prefix+"/"+manifestName); err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", prefix, err)
	}
	for info, err := range s.List(ctx, prefix+"/") {
		if err == nil {
			err = s.Delete(ctx, info.Key)
		}
		if err != nil {
			return fmt.Errorf("delete checkpoint %s: %w", prefix, err)
		}
	}
	return nil
}
