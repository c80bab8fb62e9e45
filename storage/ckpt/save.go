package ckpt

import (
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
	files := make([]*safetensors.File, len(shards))
	made := make([]Shard, len(shards))
	for i, tensors := range shards {
		var err error
		if made[i], files[i], err = NewShard(i, tensors); err != nil {
			return Manifest{}, fmt.Errorf("save checkpoint %s: %w", prefix, err)
		}
	}
	if _, _, err := m.seal(made); err != nil {
		return Manifest{}, fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	for i, f := range files {
		if err := PutShard(ctx, s, prefix, made[i], f); err != nil {
			return Manifest{}, err
		}
	}
	return Commit(ctx, s, prefix, m, made)
}

// NewShard describes shard i of a checkpoint and returns the file to store.
func NewShard(i int, tensors []safetensors.Tensor) (Shard, *safetensors.File, error) {
	f, err := safetensors.NewFile(tensors, nil)
	if err != nil {
		return Shard{}, nil, fmt.Errorf("shard %d: %w", i, err)
	}
	h := sha256.New()
	if _, err := f.WriteTo(h); err != nil {
		return Shard{}, nil, err
	}
	sha := hex.EncodeToString(h.Sum(nil))
	return Shard{Key: shardKey(i, sha), SHA256: sha, Bytes: f.Size(), Tensors: len(tensors)}, f, nil
}

// Commit makes shards that are in the store a checkpoint, and returns its manifest with
// Format and Shards filled in. ErrExists as in Save.
func Commit(ctx context.Context, s storage.Store, prefix string, m Manifest, shards []Shard) (Manifest, error) {
	m, manifest, err := m.seal(shards)
	if err != nil {
		return Manifest{}, fmt.Errorf("commit checkpoint %s: %w", prefix, err)
	}
	switch err := s.PutIfAbsent(ctx, prefix+"/"+manifestName, manifest); {
	case errors.Is(err, storage.ErrExists):
		return Manifest{}, fmt.Errorf("commit checkpoint %s: %w: %w", prefix, ErrExists, err)
	case err != nil:
		return Manifest{}, fmt.Errorf("commit checkpoint %s: %w", prefix, err)
	}
	return m, nil
}

// seal fills in what the saver does not know, and encodes the manifest.
func (m Manifest) seal(shards []Shard) (Manifest, []byte, error) {
	m.Format, m.FormatVersion, m.Shards = format, formatVersion, shards
	if err := m.check(); err != nil {
		return Manifest{}, nil, err
	}
	b, err := sealed.Marshal(m)
	if err != nil {
		return Manifest{}, nil, err
	}
	if len(b) > maxManifest {
		return Manifest{}, nil, fmt.Errorf("a manifest of %d bytes, at most %d are allowed", len(b), maxManifest)
	}
	return m, b, nil
}

func unique(shards [][]safetensors.Tensor) error {
	seen := map[string]bool{}
	for _, tensors := range shards {
		for _, t := range tensors {
			if seen[t.Name] {
				return fmt.Errorf("tensor %q occurs twice", t.Name)
			}
			seen[t.Name] = true
		}
	}
	return nil
}

// Delete removes a checkpoint: the manifest first, so that at no time a committed one lacks
// a shard, then everything else below prefix. Deleting what does not exist is not an error.
func Delete(ctx context.Context, s storage.Store, prefix string) error {
	if err := s.Delete(ctx, prefix+"/"+manifestName); err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", prefix, err)
	}
	if _, err := storage.DeleteAll(ctx, s, prefix+"/"); err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", prefix, err)
	}
	return nil
}
