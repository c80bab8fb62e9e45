package api

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/metric"
)

// fillReplay makes the spec of a replay that of the training whose checkpoint it names, with as many workers as then.
func (a jobs) fillReplay(ctx context.Context, v *state.View, s *tandemv1.JobSpec, pool string) error {
	from, err := sourceOf(v, "replay.checkpoint_id", s.GetReplay().GetCheckpointId())
	if err != nil {
		return err
	}
	job, ok := v.Job(from.GetJobId())
	trial, found := v.Trial(from.GetTrialId())
	if !ok || !found {
		return precondition(fmt.Sprintf("the job that made checkpoint %s is not known any more, so there is nothing to compare with", from.GetId()))
	}
	if total := trial.GetTotalSteps(); total > 0 && from.GetStep() >= total {
		return precondition(fmt.Sprintf("checkpoint %s is that of the last step (%d), so there are no steps after it to do again; take an earlier one", from.GetId(), total))
	}
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	manifest, err := ckpt.ReadManifest(ctx, store, from.GetPrefix())
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w", from.GetId(), err)
	}
	recorded, err := metric.List(ctx, store, trial.GetId(), metric.Steps)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(recorded, func(n metric.Name) bool { return n.Generation >= from.GetGeneration() }) {
		return precondition(fmt.Sprintf("no figures of steps after checkpoint %s are stored, so there is nothing to compare with", from.GetId()))
	}
	trained := proto.Clone(state.SpecOf(job, trial)).(*tandemv1.JobSpec)
	s.Replay.CheckpointId = from.GetId()
	s.Dataset, s.DatasetId, s.Model, s.Training = trained.GetDataset(), trained.GetDatasetId(), trained.GetModel(), trained.GetTraining()
	s.Evaluate, s.Checkpoint = trained.GetEvaluate(), trained.GetCheckpoint()
	s.Metric, s.Mode, s.TieBreaker = trained.GetMetric(), trained.GetMode(), trained.GetTieBreaker()
	workers := int32(manifest.WorldSize) //nolint:gosec // at most maxWorkers, as the spec of the training was
	r := s.GetResources()
	r.Workers, r.Min, r.Max = workers, workers, workers
	if pool == "" {
		r.Pool = trained.GetResources().GetPool()
	}
	return nil
}
