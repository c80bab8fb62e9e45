package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

// attempt is one rank's part in a checkpoint, from the copy of its share to the end.
type attempt struct {
	number int64 // counts the attempts of this process
	m      ckpt.Manifest
	prefix string
	rank   int
	layout string
	begin  time.Time

	// The share is in memory, or in a file, or in the store.
	inMemory bool
	tensors  []safetensors.Tensor
	file     string // path; empty while it is not on disk
	bytes    int64  // about; exact once it is described
	stuck    bool   // in memory though the store is away, for the disk does not take it
	cancel   context.CancelFunc

	shards   []ckpt.Shard  // by rank; Key is empty where it is not known
	overtook time.Duration // the interval after which the next was due, before this one was done; 0: it was done by then
}

// drop forgets this process's copy of the share.
func (a *attempt) drop() {
	a.tensors, a.inMemory = nil, false
	if a.file != "" {
		os.Remove(a.file) // else the agent empties the folder
		a.file = ""
	}
}

// part is this rank's word on its share.
func (a *attempt) part() ckpt.Part {
	return ckpt.Part{
		Trial: a.m.Trial, Step: a.m.Step, Generation: a.m.Generation,
		Rank: a.rank, World: len(a.shards), Layout: a.layout, Shard: a.shards[a.rank],
	}
}

// describe hashes the share, once.
func (a *attempt) describe() (*safetensors.File, error) {
	if a.shards[a.rank].Key != "" {
		return safetensors.NewFile(a.tensors, nil)
	}
	shard, f, err := ckpt.NewShard(a.rank, a.tensors)
	if err != nil {
		return nil, err
	}
	a.shards[a.rank] = shard
	return f, nil
}

// put writes the share to the store, from where it is, and this rank's word on it.
func (a *attempt) put(ctx context.Context, s storage.Store) error {
	var body io.ReaderAt
	if a.inMemory {
		f, err := a.describe()
		if err != nil {
			return err
		}
		body = f
	} else {
		f, err := os.Open(a.file)
		if err != nil {
			return fmt.Errorf("a checkpoint that waited on disk: %w", err)
		}
		defer f.Close()
		body = f
	}
	if err := ckpt.PutShard(ctx, s, a.prefix, a.shards[a.rank], body); err != nil {
		return err
	}
	if a.rank == 0 {
		return nil // who commits knows its own
	}
	return ckpt.PutPart(ctx, s, a.prefix, a.part())
}

// toFile writes the share to local disk, for this process only: it need not outlive it.
func (a *attempt) toFile(path string) error {
	f, err := a.describe()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteTo(out)
	if end := out.Close(); err == nil {
		err = end
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

// record is what the coordinator keeps of a checkpoint.
func record(m ckpt.Manifest, prefix string) (*tandemv1.Checkpoint, error) {
	manifest, err := sealed.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("hash manifest of %s: %w", prefix, err)
	}
	sum := sha256.Sum256(manifest)
	bytes := int64(len(manifest))
	for _, s := range m.Shards {
		bytes += s.Bytes
	}
	return &tandemv1.Checkpoint{
		TrialId: m.Trial, JobId: m.Job, Step: m.Step, Epoch: float64(m.Epoch), Generation: m.Generation,
		Prefix: prefix, ManifestSha256: hex.EncodeToString(sum[:]), Bytes: bytes, Metrics: m.Metrics,
	}, nil
}
