package ckpt

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem.dev/storage/sealed"
)

const (
	format        = "tandem-checkpoint"
	formatVersion = 1
	manifestName  = "manifest.json"

	maxManifest = 1 << 20  // bytes
	maxShard    = 64 << 30 // bytes
)

// MaxShards is how many shards a checkpoint may have.
const MaxShards = 4096

// Errors of this package, matched with errors.Is.
var (
	// ErrCorrupt: a manifest or shard is damaged, missing or of an unknown format. Use an
	// earlier checkpoint.
	ErrCorrupt = errors.New("corrupt checkpoint")
	// ErrForeign: the checkpoint is sound but belongs to another trial, spec or dataset.
	ErrForeign = errors.New("foreign checkpoint")
	// ErrExists: there is a committed checkpoint of another content at this prefix.
	ErrExists = errors.New("checkpoint exists already")
)

// Cursor is the place in the data where training goes on.
type Cursor struct {
	Epoch    int64 `json:"epoch"`    // passes over the data begun, from 0
	Position int64 `json:"position"` // samples of this epoch consumed
}

// Shard is one file of tensors.
type Shard struct {
	Key     string `json:"key"` // below the checkpoint's prefix
	SHA256  string `json:"sha256"`
	Bytes   int64  `json:"bytes"`
	Tensors int    `json:"tensors"`
}

// Manifest describes a checkpoint. Floats must be finite.
type Manifest struct {
	Format        string             `json:"format"`         // set by Save
	FormatVersion int                `json:"format_version"` // set by Save
	Job           string             `json:"job"`
	Trial         string             `json:"trial"`
	Step          int64              `json:"step"`       // optimizer steps done
	Epoch         int64              `json:"epoch"`      // whole passes over the data done
	Generation    int64              `json:"generation"` // of the allocation that saved it
	SpecHash      string             `json:"spec_hash"`
	DatasetID     string             `json:"dataset_id"`
	Seed          int64              `json:"seed"`
	Cursor        Cursor             `json:"cursor"`
	WorldSize     int                `json:"world_size"` // ranks that trained it
	Metrics       map[string]float64 `json:"metrics,omitempty"`
	Best          *Best              `json:"best,omitempty"`
	SavedUnixMS   int64              `json:"saved_unix_ms,omitzero"` // wall clock of the saver, for people
	Shards        []Shard            `json:"shards"`                 // set by Save
}

// Expect says which checkpoint the caller wants; empty fields match anything.
type Expect struct {
	Trial     string
	SpecHash  string
	DatasetID string
}

func (e Expect) check(m Manifest) error {
	for _, c := range []struct{ what, want, got string }{
		{"trial", e.Trial, m.Trial},
		{"spec hash", e.SpecHash, m.SpecHash},
		{"dataset", e.DatasetID, m.DatasetID},
	} {
		if c.want != "" && c.want != c.got {
			return fmt.Errorf("%w: it is of %s %q, wanted %q", ErrForeign, c.what, c.got, c.want)
		}
	}
	return nil
}

// ParseManifest reads and checks the bytes of a manifest. It does not look at the shards.
func ParseManifest(b []byte) (Manifest, error) {
	m, err := sealed.Parse(b, maxManifest, Manifest.check)
	if err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

func (m Manifest) check() error {
	if m.Format != format || m.FormatVersion != formatVersion {
		return fmt.Errorf("format %q version %d; this program knows %q version %d", m.Format, m.FormatVersion, format, formatVersion)
	}
	if m.Step < 0 || m.Epoch < 0 || m.Generation < 0 || m.Cursor.Epoch < 0 || m.Cursor.Position < 0 || m.WorldSize < 1 {
		return errors.New("step, epoch, generation and cursor must not be negative, world size must be positive")
	}
	for _, name := range slices.Sorted(maps.Keys(m.Metrics)) {
		if v := m.Metrics[name]; math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("metric %s is %v", name, v)
		}
	}
	if m.Best != nil && (math.IsNaN(m.Best.Value) || math.IsInf(m.Best.Value, 0)) {
		return fmt.Errorf("best metric %s is %v", m.Best.Metric, m.Best.Value)
	}
	if len(m.Shards) == 0 || len(m.Shards) > MaxShards {
		return fmt.Errorf("%d shards, must be 1 to %d", len(m.Shards), MaxShards)
	}
	for i, s := range m.Shards {
		if err := s.check(i); err != nil {
			return err
		}
	}
	return nil
}

// check makes sure that s can be shard i.
func (s Shard) check(i int) error {
	if len(s.SHA256) != 64 || s.Key != shardKey(i, s.SHA256) {
		return fmt.Errorf("shard %d has key %.80q and sha256 %.80q, which do not belong together", i, s.Key, s.SHA256)
	}
	if s.Bytes <= 0 || s.Bytes > maxShard || s.Tensors < 0 {
		return fmt.Errorf("shard %d has %d bytes and %d tensors", i, s.Bytes, s.Tensors)
	}
	return nil
}

// shardKey names a shard by its place and content, so that no two contents share a key.
func shardKey(i int, sha string) string {
	return fmt.Sprintf("shard-%05d-%s.safetensors", i, sha[:16])
}
