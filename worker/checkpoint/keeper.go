package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

// ErrStale: the coordinator no longer takes checkpoints of this generation; the engine has to end.
var ErrStale = errors.New("the generation is over")

// Group is the ranks that restore together.
type Group interface {
	// AllReduceSum replaces each value by its sum over the ranks.
	AllReduceSum(values []float64) error
}

// Config of a Keeper.
type Config struct {
	Job, Trial string
	SpecHash   string
	DatasetID  string
	Prefix     string // of the trial's objects, such as "trials/<id>"
	Generation int64
	Rank       int
	Resume     *tandemv1.Checkpoint // to start from; nil: from the beginning
}

// Deps of a Keeper.
type Deps struct {
	Store storage.Store
	Group Group // nil for a single process
	// Report delivers a committed checkpoint. ErrStale ends the training.
	Report func(context.Context, *tandemv1.Checkpoint) error
	Log    zerolog.Logger
}

// Keeper keeps the checkpoints of a trial. Its methods are for one goroutine.
type Keeper struct {
	Config
	Deps
	flight *flight // the newest upload, under way or ended; nil before the first
}

// flight is the upload of one checkpoint.
type flight struct {
	done    chan error         // its outcome, which whoever takes it puts back
	away    chan struct{}      // closed when the store turned out to be unavailable
	replace context.CancelFunc // ends the upload, not the report of what is committed
	cancel  context.CancelFunc // ends both
}

// New makes a keeper.
func New(c Config, d Deps) *Keeper {
	c.Prefix = strings.TrimSuffix(strings.TrimSuffix(c.Prefix, "/"), "/ckpt")
	return &Keeper{Config: c, Deps: d}
}

// Save begins to write a checkpoint. It waits for the one before, whose failure is only
// logged unless it is ErrStale: a later checkpoint makes up for it. One that waits for an
// unavailable store is given up, so that training goes on.
func (k *Keeper) Save(ctx context.Context, m ckpt.Manifest, tensors []safetensors.Tensor) error {
	err := k.Wait(ctx, func() { k.flight.replace() })
	if errors.Is(err, ErrStale) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		k.Log.Warn().Err(err).Msg("a checkpoint was not kept; the next is tried")
	}
	m.Job, m.Trial, m.SpecHash, m.DatasetID, m.Generation = k.Job, k.Trial, k.SpecHash, k.DatasetID, k.Generation
	m.SavedUnixMS = time.Now().UnixMilli()
	ctx, cancel := context.WithCancel(ctx)
	saving, replace := context.WithCancel(ctx)
	f := &flight{done: make(chan error, 1), away: make(chan struct{}), replace: replace, cancel: cancel}
	k.flight = f
	go func() {
		defer cancel()
		f.done <- k.commit(ctx, saving, f, m, tensors)
	}()
	return nil
}

// Close returns when no checkpoint is being written or reported. It gives up the one under
// way when ctx ends. It is for a training that failed: what was begun before is of use.
func (k *Keeper) Close(ctx context.Context) {
	if err := k.Wait(ctx, func() {}); err == nil || ctx.Err() == nil {
		return
	}
	k.flight.cancel()
	k.flight.done <- <-k.flight.done
}

// Wait returns when no checkpoint is being written, with the failure of the last one. While
// the store is unavailable that is when it answers again; away is called once to tell so.
func (k *Keeper) Wait(ctx context.Context, away func()) error {
	if k.flight == nil {
		return nil
	}
	unavailable := k.flight.away
	for {
		select {
		case err := <-k.flight.done:
			k.flight.done <- err // so that it can be asked again
			return err
		case <-unavailable:
			unavailable = nil
			away()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// commit writes and reports a checkpoint. It waits for a store that is unavailable until
// saving ends.
func (k *Keeper) commit(ctx, saving context.Context, f *flight, m ckpt.Manifest, tensors []safetensors.Tensor) error {
	prefix := ckpt.Prefix(k.Prefix, m.Step, m.Generation)
	begin := time.Now()
	var saved ckpt.Manifest
	err := storage.Persist(saving, func() (err error) {
		saved, err = ckpt.Save(saving, k.Store, prefix, m, [][]safetensors.Tensor{tensors})
		return err
	}, func(err error) {
		k.Log.Warn().Err(err).Str("ckpt", prefix).Msg("storage is unavailable; the checkpoint waits for it")
		close(f.away)
	})
	if errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("%w; free some space in the store, then resume", err)
	}
	if err != nil {
		return err
	}
	record, err := k.record(saved, prefix)
	if err != nil {
		return err
	}
	k.Log.Info().Int64("step", m.Step).Str("ckpt", prefix).Int64("bytes", record.Bytes).
		Int64("dur_ms", time.Since(begin).Milliseconds()).Msg("checkpoint committed")
	if err := k.Report(ctx, record); err != nil {
		return fmt.Errorf("report checkpoint %s: %w", prefix, err)
	}
	return nil
}

// record is what the coordinator keeps of a checkpoint.
func (k *Keeper) record(m ckpt.Manifest, prefix string) (*tandemv1.Checkpoint, error) {
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
		TrialId: k.Trial, JobId: k.Job, Step: m.Step, Epoch: float64(m.Epoch), Generation: m.Generation,
		Prefix: prefix, ManifestSha256: hex.EncodeToString(sum[:]), Bytes: bytes, Metrics: m.Metrics,
	}, nil
}
