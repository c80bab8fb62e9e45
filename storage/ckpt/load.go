package ckpt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/safetensors"
)

// Load reads a checkpoint and all its tensors, in the order they were saved. Every byte is
// verified first. ErrCorrupt if anything is damaged or missing, ErrForeign if it is not
// what want says, storage.ErrNotFound if nothing is committed at prefix.
func Load(ctx context.Context, s storage.Store, prefix string, want Expect) (Manifest, []safetensors.Tensor, error) {
	m, err := ReadManifest(ctx, s, prefix)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("load checkpoint %s: %w", prefix, err)
	}
	if err := want.check(m); err != nil {
		return Manifest{}, nil, fmt.Errorf("load checkpoint %s: %w", prefix, err)
	}
	var all [][]safetensors.Tensor
	for _, shard := range m.Shards {
		tensors, err := readShard(ctx, s, prefix, shard)
		if err != nil {
			return Manifest{}, nil, fmt.Errorf("load checkpoint %s: %w", prefix, err)
		}
		all = append(all, tensors)
	}
	if err := unique(all); err != nil {
		return Manifest{}, nil, fmt.Errorf("load checkpoint %s: %w: %w", prefix, ErrCorrupt, err)
	}
	return m, slices.Concat(all...), nil
}

// Verify reads a whole checkpoint as Load does, but keeps at most one shard in memory.
func Verify(ctx context.Context, s storage.Store, prefix string) (Manifest, error) {
	m, err := ReadManifest(ctx, s, prefix)
	if err != nil {
		return Manifest{}, fmt.Errorf("verify checkpoint %s: %w", prefix, err)
	}
	for _, shard := range m.Shards {
		if _, err := readShard(ctx, s, prefix, shard); err != nil {
			return Manifest{}, fmt.Errorf("verify checkpoint %s: %w", prefix, err)
		}
	}
	return m, nil
}

// ReadManifest reads and checks only the manifest.
func ReadManifest(ctx context.Context, s storage.Store, prefix string) (Manifest, error) {
	b, err := storage.ReadAll(ctx, s, prefix+"/"+manifestName, maxManifest)
	if errors.Is(err, storage.ErrSize) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return Manifest{}, err
	}
	// A manifest copied to another place is not the checkpoint that the place names.
	if step, gen, ok := parseName(prefix); ok && (step != m.Step || gen != m.Generation) {
		return Manifest{}, fmt.Errorf("%w: it is of step %d, generation %d", ErrForeign, m.Step, m.Generation)
	}
	return m, nil
}

func readShard(ctx context.Context, s storage.Store, prefix string, shard Shard) ([]safetensors.Tensor, error) {
	b, err := storage.ReadAll(ctx, s, prefix+"/"+shard.Key, shard.Bytes)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrSize):
		return nil, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, shard.Key, err)
	case err != nil:
		return nil, err
	}
	if int64(len(b)) != shard.Bytes {
		return nil, fmt.Errorf("%w: shard %s has %d bytes instead of %d", ErrCorrupt, shard.Key, len(b), shard.Bytes)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != shard.SHA256 {
		return nil, fmt.Errorf("%w: shard %s has sha256 %x", ErrCorrupt, shard.Key, sum)
	}
	limits := safetensors.DefaultLimits()
	limits.TotalBytes = shard.Bytes
	tensors, _, err := safetensors.Unmarshal(b, limits)
	if err != nil {
		return nil, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, shard.Key, err)
	}
	if len(tensors) != shard.Tensors {
		return nil, fmt.Errorf("%w: shard %s has %d tensors instead of %d", ErrCorrupt, shard.Key, len(tensors), shard.Tensors)
	}
	return tensors, nil
}

// Entry is a committed checkpoint as List finds it, not yet read.
type Entry struct {
	Prefix     string
	Step       int64
	Generation int64
}

// List finds the committed checkpoints of a trial, which are below what layout.Checkpoints returns, newest first: the later
// generation goes before the earlier, within one the higher step.
func List(ctx context.Context, s storage.Store, checkpoints string) ([]Entry, error) {
	var found []Entry
	for info, err := range s.List(ctx, checkpoints+"/") {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", checkpoints, err)
		}
		prefix, ok := strings.CutSuffix(info.Key, "/"+manifestName)
		if !ok {
			continue
		}
		if step, gen, ok := parseName(prefix); ok && prefix == layout.Checkpoint(checkpoints, step, gen) {
			found = append(found, Entry{prefix, step, gen})
		}
	}
	slices.SortFunc(found, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Generation, a.Generation), cmp.Compare(b.Step, a.Step))
	})
	return found, nil
}

// Abandoned finds what is there without a manifest and was last written before a
// time: what uploads left that were given up.
func Abandoned(ctx context.Context, s storage.Store, checkpoints string, before time.Time) ([]Entry, error) {
	var found []Entry
	var last Entry
	committed, fresh := true, false // of last
	end := func() {
		if !committed && !fresh {
			found = append(found, last)
		}
	}
	for info, err := range s.List(ctx, checkpoints+"/") {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", checkpoints, err)
		}
		slash := strings.LastIndexByte(info.Key, '/')
		prefix, name := info.Key[:slash], info.Key[slash+1:]
		step, gen, ok := parseName(prefix)
		if !ok || prefix != layout.Checkpoint(checkpoints, step, gen) {
			continue
		}
		if prefix != last.Prefix {
			end()
			last, committed, fresh = Entry{prefix, step, gen}, false, false
		}
		committed = committed || name == manifestName
		fresh = fresh || !info.ModTime.Before(before)
	}
	end()
	return found, nil
}

var nameRE = regexp.MustCompile(`(?:^|/)([0-9]{12,18})-g([0-9]{1,18})$`)

// parseName reads step and generation from the last part of a prefix made by Prefix.
func parseName(prefix string) (step, generation int64, ok bool) {
	p := nameRE.FindStringSubmatch(prefix)
	if p == nil {
		return 0, 0, false
	}
	step, err1 := strconv.ParseInt(p[1], 10, 64)
	generation, err2 := strconv.ParseInt(p[2], 10, 64)
	return step, generation, err1 == nil && err2 == nil
}
