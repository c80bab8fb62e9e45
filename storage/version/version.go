package version

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"tandem.dev/storage"
)

// Version is a published version in a store.
type Version struct {
	Manifest       Manifest
	ManifestSHA256 string

	store  storage.Store
	prefix string
	size   int64 // of the manifest
}

// Open reads and checks the manifest below prefix, such as "models/<version id>". A wanted
// hash other than the manifest's is ErrCorrupt; empty, any will do. storage.ErrNotFound if
// nothing is committed there.
func Open(ctx context.Context, s storage.Store, prefix, wantSHA256 string) (*Version, error) {
	b, err := storage.ReadAll(ctx, s, prefix+"/"+ManifestName, storage.MaxCommit)
	if errors.Is(err, storage.ErrSize) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open version %s: %w", prefix, err)
	}
	sum := hash(b)
	if wantSHA256 != "" && sum != wantSHA256 {
		return nil, fmt.Errorf("open version %s: %w: its manifest has sha256 %s instead of %s", prefix, ErrCorrupt, sum, wantSHA256)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("open version %s: %w", prefix, err)
	}
	return &Version{Manifest: m, ManifestSHA256: sum, store: s, prefix: prefix, size: int64(len(b))}, nil
}

// Read reads and verifies a file by name. ErrCorrupt if it is damaged or missing.
func (v *Version) Read(ctx context.Context, name string) ([]byte, error) {
	f, ok := v.Manifest.File(name)
	if !ok {
		return nil, fmt.Errorf("version %s has no %s", v.prefix, name)
	}
	b, err := storage.ReadAll(ctx, v.store, v.prefix+"/"+f.Key, f.Bytes)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrSize):
		return nil, fmt.Errorf("version %s: %w: %s: %w", v.prefix, ErrCorrupt, name, err)
	case err != nil:
		return nil, fmt.Errorf("version %s: %w", v.prefix, err)
	}
	if sum := hash(b); sum != f.SHA256 || int64(len(b)) != f.Bytes {
		return nil, fmt.Errorf("version %s: %w: %s has %d bytes with sha256 %s", v.prefix, ErrCorrupt, name, len(b), sum)
	}
	return b, nil
}

// Bytes returns the size of all objects of the version.
func (v *Version) Bytes() int64 {
	n := v.size
	for _, f := range v.Manifest.Files {
		n += f.Bytes
	}
	return n
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
