package ckpt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"tandem.dev/storage"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

const (
	partFormat = "tandem-checkpoint-part"
	partPrefix = "rank-"
	maxPart    = 4 << 10 // bytes
)

// ErrPart: a rank's word on its share is not that of this checkpoint, or not true. The
// checkpoint cannot be committed; the next one can.
var ErrPart = errors.New("wrong part of a checkpoint")

// Source is a training state that is copied in parts. It is the same on all ranks.
type Source interface {
	// StateSizes returns the names of all tensors and the bytes of each, always in the same
	// order, and copies nothing.
	StateSizes() (names []string, bytes []int64, err error)
	// StateOf copies the tensors of these names. It may use the memory of spare, tensors that an earlier call gave and nobody
	// needs any more.
	StateOf(names []string, spare []safetensors.Tensor) ([]safetensors.Tensor, error)
}

// Part is the word of one rank that its share of a checkpoint is in the store. Who commits
// the checkpoint reads those of all ranks.
type Part struct {
	Format        string `json:"format"`         // set by PutPart
	FormatVersion int    `json:"format_version"` // set by PutPart
	Trial         string `json:"trial"`
	Step          int64  `json:"step"`
	Generation    int64  `json:"generation"`
	Rank          int    `json:"rank"`
	World         int    `json:"world"`
	Layout        string `json:"layout"` // sha256 of how the state is shared out; the same on all ranks
	Shard         Shard  `json:"shard"`
}

func (p Part) check() error {
	switch {
	case p.Format != partFormat || p.FormatVersion != formatVersion:
		return fmt.Errorf("format %q version %d; this program knows %q version %d", p.Format, p.FormatVersion, partFormat, formatVersion)
	case p.Step < 0 || p.Generation < 0 || p.Rank < 0 || p.Rank >= p.World || p.World > maxShards:
		return fmt.Errorf("step %d, generation %d, rank %d of %d", p.Step, p.Generation, p.Rank, p.World)
	}
	return p.Shard.check(p.Rank)
}

func partKey(prefix string, rank int) string {
	return fmt.Sprintf("%s/%s%05d.json", prefix, partPrefix, rank)
}

// PutShard writes one share, as NewShard or NewShardFile described it.
func PutShard(ctx context.Context, s storage.Store, prefix string, shard Shard, body io.ReaderAt) error {
	if err := s.Put(ctx, prefix+"/"+shard.Key, io.NewSectionReader(body, 0, shard.Bytes), shard.Bytes); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	return nil
}

// PutPart gives a rank's word on its share, after PutShard. It cannot be taken back:
// another word of the same rank is ErrExists.
func PutPart(ctx context.Context, s storage.Store, prefix string, p Part) error {
	p.Format, p.FormatVersion = partFormat, formatVersion
	b, err := sealed.Marshal(p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return fmt.Errorf("save checkpoint %s: part: %w", prefix, err)
	}
	switch err := s.PutIfAbsent(ctx, partKey(prefix, p.Rank), b); {
	case errors.Is(err, storage.ErrExists):
		return fmt.Errorf("save checkpoint %s: %w: %w", prefix, ErrExists, err)
	case err != nil:
		return fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	return nil
}

// Gather adds to shards, which has one entry for each rank, those that the store has the word
// of, and returns how many are still missing (their Key is empty). Each must be of the
// checkpoint that want describes and name an object that is there, else ErrPart.
func Gather(ctx context.Context, s storage.Store, prefix string, want Part, shards []Shard) (missing int, err error) {
	for _, shard := range shards {
		if shard.Key == "" {
			missing++
		}
	}
	if missing == 0 {
		return 0, nil
	}
	for info, err := range s.List(ctx, prefix+"/"+partPrefix) {
		if err != nil {
			return missing, fmt.Errorf("gather checkpoint %s: %w", prefix, err)
		}
		var rank int
		if _, err := fmt.Sscanf(strings.TrimPrefix(info.Key, prefix+"/"), partPrefix+"%05d.json", &rank); err != nil || info.Key != partKey(prefix, rank) {
			continue // nothing of ours
		}
		if rank >= len(shards) || shards[rank].Key != "" {
			continue
		}
		want.Rank, want.World = rank, len(shards)
		shard, err := readPart(ctx, s, prefix, want)
		if err != nil {
			return missing, fmt.Errorf("gather checkpoint %s: rank %d: %w", prefix, rank, err)
		}
		shards[rank] = shard
		missing--
	}
	return missing, nil
}

// readPart reads and checks a rank's word.
func readPart(ctx context.Context, s storage.Store, prefix string, want Part) (Shard, error) {
	b, err := storage.ReadAll(ctx, s, partKey(prefix, want.Rank), maxPart)
	if errors.Is(err, storage.ErrSize) {
		err = fmt.Errorf("%w: %w", ErrPart, err)
	}
	if err != nil {
		return Shard{}, err
	}
	p, err := sealed.Parse(b, maxPart, Part.check)
	if err != nil {
		return Shard{}, fmt.Errorf("%w: %w", ErrPart, err)
	}
	got := p
	got.Format, got.FormatVersion, got.Shard = want.Format, want.FormatVersion, want.Shard
	if got != want {
		return Shard{}, fmt.Errorf("%w: it is of trial %s, step %d, generation %d, rank %d of %d, layout %.8s", ErrPart, p.Trial, p.Step, p.Generation, p.Rank, p.World, p.Layout)
	}
	info, err := s.Head(ctx, prefix+"/"+p.Shard.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Shard{}, fmt.Errorf("%w: it names %s, which is not there", ErrPart, p.Shard.Key)
	case err != nil:
		return Shard{}, err
	case info.Size != p.Shard.Bytes:
		return Shard{}, fmt.Errorf("%w: it says that %s has %d bytes, which has %d", ErrPart, p.Shard.Key, p.Shard.Bytes, info.Size)
	}
	return p.Shard, nil
}
