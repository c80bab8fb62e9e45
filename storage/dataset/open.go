package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"tandem.dev/storage"
)

// Dataset is a dataset in a store.
type Dataset struct {
	Manifest Manifest

	store  storage.Store
	prefix string
}

// Open reads and checks the manifest below prefix, such as "datasets/<id>".
// storage.ErrNotFound if there is none, ErrCorrupt if it is damaged.
func Open(ctx context.Context, s storage.Store, prefix string) (*Dataset, error) {
	b, err := storage.ReadAll(ctx, s, prefix+"/"+ManifestName, maxManifest)
	if errors.Is(err, storage.ErrSize) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open dataset %s: %w", prefix, err)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("open dataset %s: %w", prefix, err)
	}
	return &Dataset{Manifest: m, store: s, prefix: prefix}, nil
}

// Split reads a whole split: Train, Validation or Test. Every shard's sha256 and every
// label is verified. A split without rows is an empty Table.
func (d *Dataset) Split(ctx context.Context, name string) (*Table, error) {
	s, ok := d.Manifest.Split(name)
	if !ok {
		return nil, fmt.Errorf("dataset %s has no split %q; it has %s, %s and %s", d.prefix, name, Train, Validation, Test)
	}
	dim := d.Manifest.FeatureDim()
	all := &Table{FeatureDim: dim}
	for _, shard := range s.Shards {
		_, t, err := d.shard(ctx, shard)
		if err != nil {
			return nil, fmt.Errorf("read dataset %s: %w", d.prefix, err)
		}
		if all.Rows == 0 {
			// Known to be about right only now: the first shard was verified.
			all.Features = slices.Grow(all.Features, len(t.Features)/t.Rows*int(s.Rows))
			all.Text = slices.Grow(all.Text, len(t.Text)/t.Rows*int(s.Rows))
		}
		all.Rows += t.Rows
		all.Features = append(all.Features, t.Features...)
		all.Labels = append(all.Labels, t.Labels...)
		all.Targets = append(all.Targets, t.Targets...)
		all.Text = append(all.Text, t.Text...)
	}
	return all, nil
}

// shard reads and verifies one shard: its bytes, and what they say.
func (d *Dataset) shard(ctx context.Context, sh Shard) ([]byte, Table, error) {
	b, err := storage.ReadAll(ctx, d.store, d.prefix+"/"+sh.Key, sh.Bytes)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrSize):
		return nil, Table{}, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, sh.Key, err)
	case err != nil:
		return nil, Table{}, err
	}
	if sum := sha256.Sum256(b); int64(len(b)) != sh.Bytes || hex.EncodeToString(sum[:]) != sh.SHA256 {
		return nil, Table{}, fmt.Errorf("%w: shard %s has %d bytes with sha256 %x", ErrCorrupt, sh.Key, len(b), sum)
	}
	t, err := decodeShard(b, sh.Rows, d.Manifest.FeatureDim(), d.Manifest.Task, d.Manifest.NumClasses)
	if err != nil {
		return nil, Table{}, fmt.Errorf("shard %s: %w", sh.Key, err)
	}
	return b, t, nil
}

// Copy verifies a whole dataset and copies it: the shards of a manifest, which is the bytes of its file, from below one prefix to below
// another, and the manifest last. So what is there has been seen to be right, whoever may still write below from. One shard is in memory
// at a time. ErrCorrupt if anything is wrong with the dataset.
func Copy(ctx context.Context, s storage.Store, manifest []byte, from, to string) (Manifest, error) {
	m, err := ParseManifest(manifest)
	if err != nil {
		return m, err
	}
	put := func(name string, b []byte) error {
		if err := s.Put(ctx, to+"/"+name, bytes.NewReader(b), int64(len(b))); err != nil {
			return fmt.Errorf("store dataset %s: %w", to, err)
		}
		return nil
	}
	d := &Dataset{Manifest: m, store: s, prefix: from}
	for _, split := range m.Splits {
		counts := make([]int64, len(split.ClassCounts))
		for _, sh := range split.Shards {
			b, t, err := d.shard(ctx, sh)
			if err != nil {
				return m, fmt.Errorf("verify dataset %s: %w", from, err)
			}
			for _, y := range t.Labels {
				counts[y]++
			}
			if err := put(sh.Key, b); err != nil {
				return m, err
			}
		}
		for c, n := range counts {
			if n != split.ClassCounts[c] {
				return m, fmt.Errorf("verify dataset %s: %w: split %s has %d rows of class %d instead of %d", from, ErrCorrupt, split.Name, n, c, split.ClassCounts[c])
			}
		}
	}
	return m, put(ManifestName, manifest)
}
