package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"tandem.dev/storage"
)

// Dataset is a data set in a store.
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
		return nil, fmt.Errorf("open data set %s: %w", prefix, err)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("open data set %s: %w", prefix, err)
	}
	return &Dataset{Manifest: m, store: s, prefix: prefix}, nil
}

// Split reads a whole split: Train, Validation or Test. Every shard's sha256 and every
// label is verified. A split without rows is an empty Table.
func (d *Dataset) Split(ctx context.Context, name string) (*Table, error) {
	s, ok := d.Manifest.Split(name)
	if !ok {
		return nil, fmt.Errorf("data set %s has no split %q; it has %s, %s and %s", d.prefix, name, Train, Validation, Test)
	}
	dim := d.Manifest.FeatureDim()
	all := &Table{FeatureDim: dim}
	for _, shard := range s.Shards {
		t, err := d.shard(ctx, shard)
		if err != nil {
			return nil, fmt.Errorf("read data set %s: %w", d.prefix, err)
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

// shard reads and verifies one shard.
func (d *Dataset) shard(ctx context.Context, sh Shard) (Table, error) {
	b, err := storage.ReadAll(ctx, d.store, d.prefix+"/"+sh.Key, sh.Bytes)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrSize):
		return Table{}, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, sh.Key, err)
	case err != nil:
		return Table{}, err
	}
	if sum := sha256.Sum256(b); int64(len(b)) != sh.Bytes || hex.EncodeToString(sum[:]) != sh.SHA256 {
		return Table{}, fmt.Errorf("%w: shard %s has %d bytes with sha256 %x", ErrCorrupt, sh.Key, len(b), sum)
	}
	t, err := decodeShard(b, sh.Rows, d.Manifest.FeatureDim(), d.Manifest.Task, d.Manifest.NumClasses)
	if err != nil {
		return Table{}, fmt.Errorf("shard %s: %w", sh.Key, err)
	}
	return t, nil
}

// Verify reads a whole data set and keeps none of it.
func Verify(ctx context.Context, s storage.Store, prefix string) (Manifest, error) {
	d, err := Open(ctx, s, prefix)
	if err != nil {
		return Manifest{}, err
	}
	for _, split := range d.Manifest.Splits {
		counts := make([]int64, len(split.ClassCounts))
		for _, sh := range split.Shards {
			t, err := d.shard(ctx, sh)
			if err != nil {
				return Manifest{}, fmt.Errorf("verify data set %s: %w", prefix, err)
			}
			for _, y := range t.Labels {
				counts[y]++
			}
		}
		for c, n := range counts {
			if n != split.ClassCounts[c] {
				return Manifest{}, fmt.Errorf("verify data set %s: %w: split %s has %d rows of class %d instead of %d", prefix, ErrCorrupt, split.Name, n, c, split.ClassCounts[c])
			}
		}
	}
	return d.Manifest, nil
}
