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
	// Patience is how long a failing upload is tried again.
	Patience time.Duration
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
	flight chan error         // the upload under way, or the outcome of the last; nil before the first
	cancel context.CancelFunc // ends it
}

// New makes a keeper.
func New(c Config, d Deps) *Keeper {
	c.Prefix = strings.TrimSuffix(strings.TrimSuffix(c.Prefix, "/"), "/ckpt")
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	return &Keeper{Config: c, Deps: d}
}

// Save begins to write a checkpoint. It waits for the one before, whose failure is only
// logged unless it is ErrStale: a later checkpoint makes up for it.
func (k *Keeper) Save(ctx context.Context, m ckpt.Manifest, tensors []safetensors.Tensor) error {
	if err := k.Wait(ctx); errors.Is(err, ErrStale) || ctx.Err() != nil {
		return err
	} else if err != nil {
		k.Log.Warn().Err(err).Msg("a checkpoint was not kept; the next is tried")
	}
	m.Job, m.Trial, m.SpecHash, m.DatasetID, m.Generation = k.Job, k.Trial, k.SpecHash, k.DatasetID, k.Generation
	m.SavedUnixMS = time.Now().UnixMilli()
	flight := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	k.flight, k.cancel = flight, cancel
	go func() {
		defer cancel()
		flight <- k.commit(ctx, m, tensors)
	}()
	return nil
}

// Close returns when no checkpoint is being written or reported. It gives up the one under
// way when ctx ends. It is for a training that failed: what was begun before is of use.
func (k *Keeper) Close(ctx context.Context) {
	if err := k.Wait(ctx); err == nil || ctx.Err() == nil {
		return
	}
	k.cancel()
	k.flight <- <-k.flight
}

// Wait returns when no checkpoint is being written, with the failure of the last one.
func (k *Keeper) Wait(ctx context.Context) error {
	if k.flight == nil {
		return nil
	}
	select {
	case err := <-k.flight:
		k.flight <- err // so that it can be asked again
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit writes and reports a checkpoint, again and again while the store fails.
func (k *Keeper) commit(ctx context.Context, m ckpt.Manifest, tensors []safetensors.Tensor) error {
	prefix := ckpt.Prefix(k.Prefix, m.Step, m.Generation)
	begin := time.Now()
	var saved ckpt.Manifest
	err := retry(ctx, k.Patience, func() (err error) {
		saved, err = ckpt.Save(ctx, k.Store, prefix, m, [][]safetensors.Tensor{tensors})
		return err
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

// retry runs act until it succeeds, fails for good or patience is over.
func retry(ctx context.Context, patience time.Duration, act func() error) error {
	end := time.Now().Add(patience)
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := act()
		if err == nil || !errors.Is(err, storage.ErrUnavailable) || time.Now().Add(pause).After(end) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}
