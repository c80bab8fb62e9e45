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

	"golang.org/x/sync/errgroup"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

// sideBySide is how many shards of a rank are hashed and sent at a time: while one is brought to the disk of the store, others
// keep the processors busy.
const sideBySide = 3

// attempt is one rank's part in a checkpoint, from the copy of its share to the end. Where it is, its entry of the machine knows.
type attempt struct {
	m      ckpt.Manifest
	prefix string
	rank   int
	layout string // id
	begin  time.Time

	tensors [][]safetensors.Tensor // by shard; nil when they are not in memory any more
	file    string                 // path; empty while the share is not on disk. One shard follows the other
	bytes   int64                  // of the tensors
	cancel  context.CancelFunc     // of the upload that is under way

	shards [][]ckpt.Shard // by rank; Key is empty where it is not known
	saved  ckpt.Manifest  // as it was committed
}

// entry is what the machine knows of it.
func (a *attempt) entry(number int64) *entry {
	e := &entry{number: number, generation: a.m.Generation, step: a.m.Step, best: -1, rank: a.rank, bytes: a.bytes, begin: a.begin}
	if a.m.Best != nil {
		e.best = a.m.Best.Step
	}
	return e
}

// hold takes the copy of this rank's share, in the order of the sharding.
func (a *attempt) hold(tensors []safetensors.Tensor, l sharding) {
	for _, t := range tensors {
		a.bytes += int64(len(t.Data))
	}
	for _, names := range l.shards[a.rank] {
		a.tensors, tensors = append(a.tensors, tensors[:len(names)]), tensors[len(names):]
	}
	for _, mine := range l.shards {
		a.shards = append(a.shards, make([]ckpt.Shard, len(mine)))
	}
}

// drop forgets this process's copy of the share.
func (a *attempt) drop() {
	a.tensors = nil
	if a.file != "" {
		os.Remove(a.file) // else the agent empties the folder
		a.file = ""
	}
}

// first is the index of this rank's first shard.
func (a *attempt) first() (n int) {
	for _, before := range a.shards[:a.rank] {
		n += len(before)
	}
	return n
}

// part is this rank's word on its share.
func (a *attempt) part() ckpt.Part {
	return ckpt.Part{
		Trial: a.m.Trial, Step: a.m.Step, Generation: a.m.Generation,
		Rank: a.rank, World: len(a.shards), Layout: a.layout, First: a.first(), Shards: a.shards[a.rank],
	}
}

// describe hashes this rank's shard i, which is in memory, once.
func (a *attempt) describe(i int) (*safetensors.File, error) {
	mine := a.shards[a.rank]
	if mine[i].Key != "" {
		return safetensors.NewFile(a.tensors[i], nil)
	}
	shard, f, err := ckpt.NewShard(a.first()+i, a.tensors[i])
	if err != nil {
		return nil, err
	}
	mine[i] = shard
	return f, nil
}

// put writes the share to the store, from where it is, and this rank's word on it.
func (a *attempt) put(ctx context.Context, s storage.Store) error {
	body := func(i int) (io.ReaderAt, error) { return a.describe(i) }
	if a.file != "" {
		f, err := os.Open(a.file)
		if err != nil {
			return fmt.Errorf("a checkpoint that waited on disk: %w", err)
		}
		defer f.Close()
		body = func(i int) (io.ReaderAt, error) { return a.section(f, i), nil }
	}
	uploads, uploading := errgroup.WithContext(ctx)
	uploads.SetLimit(sideBySide)
	for i := range a.shards[a.rank] {
		uploads.Go(func() error {
			if err := uploading.Err(); err != nil {
				return err // another failed, or it was given up
			}
			from, err := body(i)
			if err != nil {
				return err
			}
			return ckpt.PutShard(uploading, s, a.prefix, a.shards[a.rank][i], from)
		})
	}
	if err := uploads.Wait(); err != nil {
		return err
	}
	if a.rank == 0 {
		return nil // who commits knows its own
	}
	return ckpt.PutPart(ctx, s, a.prefix, a.part())
}

// section is this rank's shard i in its file.
func (a *attempt) section(file *os.File, i int) *io.SectionReader {
	begin := int64(0)
	for _, before := range a.shards[a.rank][:i] {
		begin += before.Bytes
	}
	return io.NewSectionReader(file, begin, a.shards[a.rank][i].Bytes)
}

// toFile writes the share to local disk, for this process only: it need not outlive it.
func (a *attempt) toFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for i := 0; i < len(a.tensors) && err == nil; i++ {
		var f *safetensors.File
		if f, err = a.describe(i); err == nil {
			_, err = f.WriteTo(out)
		}
	}
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
