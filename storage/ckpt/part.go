package ckpt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"tandem.dev/storage"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

const (
	partFormat  = "tandem-checkpoint-part"
	partVersion = 2
	partPrefix  = "rank-"
	maxPart     = maxManifest // bytes
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
	Format        string  `json:"format"`         // set by PutPart
	FormatVersion int     `json:"format_version"` // set by PutPart
	Trial         string  `json:"trial"`
	Step          int64   `json:"step"`
	Generation    int64   `json:"generation"`
	Rank          int     `json:"rank"`
	World         int     `json:"world"`
	Layout        string  `json:"layout"` // sha256 of how the state is shared out; the same on all ranks
	First         int     `json:"first"`  // index of its first shard
	Shards        []Shard `json:"shards"` // of this rank; their indices count on
}

func (p Part) check() error {
	switch {
	case p.Format != partFormat || p.FormatVersion != partVersion:
		return fmt.Errorf("format %q version %d; this program knows %q version %d", p.Format, p.FormatVersion, partFormat, partVersion)
	case p.Step < 0 || p.Generation < 0 || p.Rank < 0 || p.Rank >= p.World || p.World > MaxShards:
		return fmt.Errorf("step %d, generation %d, rank %d of %d", p.Step, p.Generation, p.Rank, p.World)
	case p.First < 0 || p.First > MaxShards || len(p.Shards) == 0 || len(p.Shards) > MaxShards-p.First:
		return fmt.Errorf("%d shards from %d", len(p.Shards), p.First)
	}
	for i, shard := range p.Shards {
		if err := shard.check(p.First + i); err != nil {
			return err
		}
	}
	return nil
}

// is tells whether p is a word on the same checkpoint, rank and shards as want, whatever is in them.
func (p Part) is(want Part) bool {
	return p.Trial == want.Trial && p.Step == want.Step && p.Generation == want.Generation && p.Rank == want.Rank &&
		p.World == want.World && p.Layout == want.Layout && p.First == want.First && len(p.Shards) == len(want.Shards)
}

func partKey(prefix string, rank int) string {
	return fmt.Sprintf("%s/%s%05d.json", prefix, partPrefix, rank)
}

// PutShard writes one shard, as NewShard described it.
func PutShard(ctx context.Context, s storage.Store, prefix string, shard Shard, body io.ReaderAt) error {
	if err := s.Put(ctx, prefix+"/"+shard.Key, io.NewSectionReader(body, 0, shard.Bytes), shard.Bytes); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", prefix, err)
	}
	return nil
}

// PutPart gives a rank's word on its share, after PutShard of all its shards. It cannot be taken back:
// another word of the same rank is ErrExists.
func PutPart(ctx context.Context, s storage.Store, prefix string, p Part) error {
	p.Format, p.FormatVersion = partFormat, partVersion
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

// Gather adds to shards those of the ranks whose word the store has, and returns how many ranks are still missing. There is an
// entry for each rank, as long as it has shards; their Keys are empty where they are missing. Each word must be of the
// checkpoint that want describes and name objects that are there, else ErrPart.
func Gather(ctx context.Context, s storage.Store, prefix string, want Part, shards [][]Shard) (missing int, err error) {
	for _, shard := range shards {
		if shard[0].Key == "" {
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
		if rank < 0 || rank >= len(shards) || shards[rank][0].Key != "" {
			continue
		}
		want.Rank, want.World, want.First, want.Shards = rank, len(shards), 0, shards[rank]
		for _, before := range shards[:rank] {
			want.First += len(before)
		}
		p, err := readPart(ctx, s, prefix, want)
		if err == nil {
			err = find(ctx, s, prefix, p.Shards)
		}
		if err != nil {
			return missing, fmt.Errorf("gather checkpoint %s: rank %d: %w", prefix, rank, err)
		}
		copy(shards[rank], p.Shards)
		missing--
	}
	return missing, nil
}

// readPart reads and checks a rank's word, but not whether it is true.
func readPart(ctx context.Context, s storage.Store, prefix string, want Part) (Part, error) {
	b, err := storage.ReadAll(ctx, s, partKey(prefix, want.Rank), maxPart)
	if errors.Is(err, storage.ErrSize) {
		err = fmt.Errorf("%w: %w", ErrPart, err)
	}
	if err != nil {
		return Part{}, err
	}
	p, err := sealed.Parse(b, maxPart, Part.check)
	if err != nil {
		return Part{}, fmt.Errorf("%w: %w", ErrPart, err)
	}
	if !p.is(want) {
		return Part{}, fmt.Errorf("%w: it is of trial %s, step %d, generation %d, rank %d of %d, layout %.8s, %d shards from %d", ErrPart,
			p.Trial, p.Step, p.Generation, p.Rank, p.World, p.Layout, len(p.Shards), p.First)
	}
	return p, nil
}

// find makes sure that shards are there with the length that a rank's word has for them. It asks for each, for not every store
// lists what was just written.
func find(ctx context.Context, s storage.Store, prefix string, shards []Shard) error {
	asks, asking := errgroup.WithContext(ctx)
	asks.SetLimit(8)
	for _, shard := range shards {
		asks.Go(func() error {
			info, err := s.Head(asking, prefix+"/"+shard.Key)
			switch {
			case errors.Is(err, storage.ErrNotFound):
				return fmt.Errorf("%w: it names %s, which does not exist", ErrPart, shard.Key)
			case err != nil:
				return err
			case info.Size != shard.Bytes:
				return fmt.Errorf("%w: it says that %s has %d bytes, which has %d", ErrPart, shard.Key, shard.Bytes, info.Size)
			}
			return nil
		})
	}
	return asks.Wait()
}
