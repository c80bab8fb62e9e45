package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/metric"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

// replay is what makes a training one that does steps again: in every process group it begins from the checkpoint of
// another trial, and from no other; it evaluates nothing and keeps nothing; at the end rank 0 compares its steps with those
// recorded then.
type replay struct {
	*checkpoint.Keeper                 // restores
	from               *ckpt.Manifest  // what was restored
	record             *train.Recorder // holds the steps that were done again
	task               *tandemv1.TrainTask
}

// Restore implements train.Checkpoints.
func (r *replay) Restore(ctx context.Context, away func()) (*ckpt.Manifest, []safetensors.Tensor, error) {
	m, tensors, err := r.Keeper.Restore(ctx, away)
	if err == nil && m == nil {
		id := r.task.GetSpec().GetReplay().GetCheckpointId()
		err = train.Permanent(fmt.Errorf("checkpoint %s is damaged or gone, so nothing was compared; see what is wrong with: tandem checkpoint verify %s", id, id))
	}
	r.from = m
	return m, tensors, err
}

// Reserve implements train.Checkpoints.
func (*replay) Reserve(ckpt.Source) error { return nil }

// Busy implements train.Checkpoints.
func (*replay) Busy() bool { return false }

// Free implements train.Checkpoints.
func (*replay) Free() {}

// Save implements train.Checkpoints.
func (*replay) Save(context.Context, ckpt.Manifest, ckpt.Source, bool) error { return nil }

// Wait implements train.Checkpoints.
func (*replay) Wait(context.Context, func()) error { return nil }

// unevaluated is a validation split without rows.
type unevaluated struct{}

func (unevaluated) Len() int { return 0 }

func (unevaluated) Read(context.Context, int, int, func()) (data.Batch, error) {
	return data.Batch{}, errors.New("a replay evaluates nothing")
}

// compare says what the steps up to the last one gave, against what was recorded then.
func (r *replay) compare(ctx context.Context, store storage.Store, last int64) (*tandemv1.ReplayOutcome, error) {
	stretch := train.Replay{
		Step: r.from.Step, Last: last, Asked: r.task.GetSpec().GetReplay().GetSteps(), Generation: r.from.Generation, World: r.from.WorldSize,
	}
	then, err := stepsThen(ctx, store, r.task.GetReplay().GetTrialId(), stretch)
	if err != nil {
		return nil, fmt.Errorf("read what was recorded then: %w", err)
	}
	return stretch.Compare(then, r.record.Take(time.Now(), 0, true)), nil
}

// stepsThen reads the segments with the steps of a trial's stretch. What is damaged is left out: its steps count as not recorded.
func stepsThen(ctx context.Context, store storage.Store, trial string, r train.Replay) ([]metric.Segment, error) {
	var names []metric.Name
	for info, err := range store.List(ctx, layout.Metrics(trial, string(metric.Steps))) {
		if err != nil {
			return nil, err
		}
		if n, ok := metric.ParseKey(info.Key); ok && n.Generation >= r.Generation {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b metric.Name) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Seq, b.Seq))
	})
	var then []metric.Segment
	beyond := int64(-1) // a generation whose further segments are of later steps
	for _, n := range names {
		if n.Generation == beyond {
			continue
		}
		b, err := storage.ReadAll(ctx, store, n.Key, metric.MaxObject)
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrSize) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := metric.Decode(b)
		if err != nil || metric.Key(s.Header) != n.Key {
			continue
		}
		then = append(then, s)
		if slices.ContainsFunc(s.Runs, func(run metric.Run) bool { return run.First > r.Last }) {
			beyond = n.Generation
		}
	}
	return then, nil
}
