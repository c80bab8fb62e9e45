package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/safetensors"
)

// Restore returns what training starts from; nil without a checkpoint to resume, or when
// none of the trial is sound any more. All ranks get the same, or an error. It waits for a
// store that is unavailable; away is called once to tell so.
func (k *Keeper) Restore(ctx context.Context, away func()) (*ckpt.Manifest, []safetensors.Tensor, error) {
	if k.Resume == nil {
		return nil, nil, nil
	}
	r := restoring{k: k}
	err := storage.Persist(ctx, func() error { return r.round(ctx) }, func(err error) {
		k.Log.Warn().Err(err).Msg("storage is unavailable; the checkpoint to resume from waits for it")
		away()
	})
	if err != nil {
		return nil, nil, err
	}
	if r.manifest != nil && k.inherits() {
		r.manifest.Best, r.manifest.Metrics = nil, nil // of that trial
	}
	return r.manifest, r.tensors, nil
}

// restoring is one rank's part in a Restore. Rank 0 chooses, for a store may show a fault
// to one rank and not to another.
type restoring struct {
	k        *Keeper
	chosen   bool // rank 0 has chosen, and this rank knows what
	prefix   string
	loaded   bool
	manifest *ckpt.Manifest // nil: from the beginning
	tensors  []safetensors.Tensor
}

// round takes the ranks as far as the store lets them. They go through rounds together, so
// that none waits in a collective while another waits for the store: an outage on any
// rank is one on all.
func (r *restoring) round(ctx context.Context) error {
	for {
		err := r.advance(ctx)
		if err != nil && !storage.IsOutage(err) {
			return err
		}
		if r.k.seat.group == nil {
			return err
		}
		pending, away, shared := r.share(err != nil)
		switch {
		case shared != nil:
			return fmt.Errorf("agree on a checkpoint: %w", shared)
		case err != nil:
			return err
		case away:
			return fmt.Errorf("%w: another rank waits for it", storage.ErrUnavailable)
		case !pending:
			return nil
		}
	}
}

// advance does this rank's next thing: choose, or load what was chosen.
func (r *restoring) advance(ctx context.Context) (err error) {
	switch {
	case r.loaded:
	case r.k.seat.rank == 0:
		r.manifest, r.tensors, err = r.k.choose(ctx)
		r.loaded = err == nil
		r.chosen = r.loaded
	case r.chosen:
		m, tensors, err := ckpt.Load(ctx, r.k.Store, r.prefix, r.k.expect())
		if err != nil {
			return err
		}
		r.manifest, r.tensors, r.loaded = &m, tensors, true
	}
	return err
}

// share tells all ranks rank 0's choice, and whether any has still to load or cannot.
func (r *restoring) share(unavailable bool) (pending, away bool, err error) {
	v := make([]float64, 6)
	if !r.loaded {
		v[0] = 1
	}
	if unavailable {
		v[1] = 1
	}
	if r.k.seat.rank == 0 && r.chosen {
		v[2] = 1
		if r.manifest != nil {
			v[3], v[4], v[5] = 1, float64(r.manifest.Step), float64(r.manifest.Generation)
		}
	}
	if err := r.k.seat.group.AllReduceSum(v); err != nil {
		return false, false, err
	}
	if v[2] > 0 && !r.chosen {
		r.chosen = true
		r.loaded = v[3] == 0
		r.prefix = r.k.prefixOf(int64(v[4]), int64(v[5]))
	}
	return v[0] > 0, v[1] > 0, nil
}

// choose loads the named checkpoint, or the newest sound one that is not newer.
func (k *Keeper) choose(ctx context.Context) (*ckpt.Manifest, []safetensors.Tensor, error) {
	candidates := []ckpt.Entry{{Prefix: k.Resume.GetPrefix(), Step: k.Resume.GetStep(), Generation: k.Resume.GetGeneration()}}
	for i := 0; i < len(candidates); i++ {
		m, tensors, err := ckpt.Load(ctx, k.Store, candidates[i].Prefix, k.expect())
		if err == nil {
			k.Log.Info().Int64("step", m.Step).Str("ckpt", candidates[i].Prefix).Msg("checkpoint loaded")
			return &m, tensors, nil
		}
		if !errors.Is(err, ckpt.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
			return nil, nil, err
		}
		if k.inherits() {
			return nil, nil, fmt.Errorf("begin from the state of trial %s: %w", k.Resume.GetTrialId(), err)
		}
		k.Log.Warn().Err(err).Str("ckpt", candidates[i].Prefix).Msg("checkpoint is damaged; an earlier one is tried")
		if i == 0 {
			older, err := k.olderThan(ctx, candidates[0])
			if err != nil {
				return nil, nil, err
			}
			candidates = append(candidates, older...)
		}
	}
	k.Log.Warn().Msg("no checkpoint of the trial is sound; training begins again")
	return nil, nil, nil
}

func (k *Keeper) olderThan(ctx context.Context, named ckpt.Entry) ([]ckpt.Entry, error) {
	all, err := ckpt.List(ctx, k.Store, k.Prefix)
	if err != nil {
		return nil, err
	}
	var older []ckpt.Entry
	for _, e := range all {
		if e.Step < named.Step && e.Generation <= named.Generation {
			older = append(older, e)
		}
	}
	return older, nil
}

func (k *Keeper) prefixOf(step, generation int64) string {
	if step == k.Resume.GetStep() && generation == k.Resume.GetGeneration() {
		return k.Resume.GetPrefix()
	}
	return layout.Checkpoint(k.Prefix, step, generation)
}

// inherits says whether training begins from the state of another trial.
func (k *Keeper) inherits() bool {
	return k.Resume.GetTrialId() != "" && k.Resume.GetTrialId() != k.Trial
}

func (k *Keeper) expect() ckpt.Expect {
	if k.inherits() { // it was trained with other hyper-parameters
		return ckpt.Expect{Trial: k.Resume.GetTrialId(), DatasetID: k.DatasetID}
	}
	return ckpt.Expect{Trial: k.Trial, SpecHash: k.SpecHash, DatasetID: k.DatasetID}
}
