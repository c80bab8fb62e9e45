package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
)

// Restore returns what training starts from; nil without a checkpoint to resume, or when
// none of the trial is sound any more. All ranks get the same, or an error.
func (k *Keeper) Restore(ctx context.Context) (*ckpt.Manifest, []safetensors.Tensor, error) {
	if k.Resume == nil {
		return nil, nil, nil
	}
	var m *ckpt.Manifest
	var tensors []safetensors.Tensor
	if k.Rank == 0 {
		var err error
		if m, tensors, err = k.choose(ctx); err != nil {
			return nil, nil, err
		}
	}
	if k.Group == nil {
		return m, tensors, nil
	}
	// Rank 0's choice, for a store may show a fault to one rank and not to another.
	choice := []float64{0, 0, 0}
	if m != nil {
		choice = []float64{1, float64(m.Step), float64(m.Generation)}
	}
	if err := k.Group.AllReduceSum(choice); err != nil {
		return nil, nil, fmt.Errorf("agree on a checkpoint: %w", err)
	}
	if choice[0] == 0 || k.Rank == 0 {
		return m, tensors, nil
	}
	prefix := k.prefixOf(int64(choice[1]), int64(choice[2]))
	chosen, tensors, err := ckpt.Load(ctx, k.Store, prefix, k.expect())
	if err != nil {
		return nil, nil, err
	}
	return &chosen, tensors, nil
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
	return ckpt.Prefix(k.Prefix, step, generation)
}

func (k *Keeper) expect() ckpt.Expect {
	return ckpt.Expect{Trial: k.Trial, SpecHash: k.SpecHash, DatasetID: k.DatasetID}
}
