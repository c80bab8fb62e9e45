package spec

import (
	"cmp"
	"fmt"
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
)

func (c *check) train(s *tandemv1.JobSpec, find FindDataset) {
	data := c.dataset(s, find)
	c.model(s.GetModel(), data)
	if s.Training == nil {
		s.Training = &tandemv1.TrainingSpec{}
	}
	c.training(s.GetTraining(), data)
	batch := s.GetTraining().GetBatch()
	c.elastic(s.GetResources(), batch)
	c.batchNorm(s, data)
	if s.Evaluate == nil {
		s.Evaluate = &tandemv1.EvaluateSpec{}
	}
	between(c, "evaluate.every_steps", s.GetEvaluate().GetEverySteps(), 0, maxSteps)
	s.Evaluate.Batch = cmp.Or(s.GetEvaluate().GetBatch(), max(batch, 1))
	between(c, "evaluate.batch", s.GetEvaluate().GetBatch(), 1, maxBatch)
	if s.Checkpoint == nil {
		s.Checkpoint = &tandemv1.CheckpointSpec{}
	}
	if s.Checkpoint.Keep == nil {
		s.Checkpoint.Keep = &tandemv1.KeepSpec{}
	}
	between(c, "checkpoint.every_steps", s.GetCheckpoint().GetEverySteps(), 0, maxSteps)
	keep := s.GetCheckpoint().GetKeep()
	keep.Best, keep.Latest = cmp.Or(keep.GetBest(), 1), cmp.Or(keep.GetLatest(), 1)
	between(c, "checkpoint.keep.best", keep.GetBest(), 1, maxKeep)
	between(c, "checkpoint.keep.latest", keep.GetLatest(), 1, maxKeep)
	c.metric(s, data)
	if p := s.GetPublish(); p != nil {
		c.publish(p, state.PublishIfBetter)
		if p.GetCheckpointId() != "" {
			c.add("publish.checkpoint_id", "belongs to kind \"publish\" only: a job that trains publishes its own best checkpoint")
		}
	}
	if s.GetReplay() != nil {
		c.add("replay", "belongs to kind \"replay\" only")
	}
}

// elastic checks the numbers of workers against each other and against the batch they share.
func (c *check) elastic(r *tandemv1.ResourceSpec, batch int32) {
	workers := r.GetWorkers()
	if workers < 1 || workers > maxWorkers {
		return // said already
	}
	if batch > 0 && workers > batch {
		c.add("resources.workers", "%d workers cannot share a batch of %d rows; use fewer workers or a larger training.batch", workers, batch)
	} else if batch > 0 && r.GetMax() > batch {
		c.add("resources.max", "%d workers cannot share a batch of %d rows; use fewer workers or a larger training.batch", r.GetMax(), batch)
	}
	between(c, "resources.min", r.GetMin(), 1, workers)
	between(c, "resources.max", r.GetMax(), workers, maxWorkers)
}

// dataset pins the dataset to one version; nil when there is none.
func (c *check) dataset(s *tandemv1.JobSpec, find FindDataset) *tandemv1.Dataset {
	if s.GetDataset() == "" {
		c.add("dataset", "is missing: name one that \"tandem dataset list\" shows")
		return nil
	}
	d, err := find(s.GetDataset())
	if err != nil {
		c.add("dataset", "%v; \"tandem dataset list\" shows those there are", err)
		return nil
	}
	s.Dataset, s.DatasetId = fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion()), d.GetId()
	for _, split := range []string{"train", "validation"} {
		if d.GetRows()[split] == 0 {
			c.add("dataset", "%s has no rows in its %s split; make it again with, for example, --split 80/10/10", s.GetDataset(), split)
		}
	}
	return d
}

func (c *check) metric(s *tandemv1.JobSpec, data *tandemv1.Dataset) {
	allowed, def := []string{"accuracy", "loss"}, "accuracy"
	if data.GetTask() == "regression" {
		allowed, def = []string{"loss", "mae"}, "loss"
	}
	if data.GetTask() == "language" {
		def = "loss"
	}
	s.Metric = cmp.Or(s.GetMetric(), def)
	if data != nil {
		c.oneOf("metric", s.GetMetric(), allowed...)
	}
	mode, better, other := "min", "lower", "accuracy"
	if s.GetMetric() == "accuracy" {
		mode, better, other = "max", "higher", "loss"
	}
	s.Mode = cmp.Or(s.GetMode(), mode)
	if !slices.Contains([]string{"min", "max"}, s.GetMode()) {
		c.oneOf("mode", s.GetMode(), "min", "max")
	} else if s.GetMode() != mode { // the worst would be kept as the best
		c.add("mode", "is %s, but %s is better when it is %s: leave mode out, or did you mean metric: %s?", s.GetMode(), s.GetMetric(), better, other)
	}
	if s.GetMetric() == "loss" {
		c.oneOf("tie_breaker", cmp.Or(s.GetTieBreaker(), ckpt.NoTieBreaker), ckpt.NoTieBreaker)
		return
	}
	s.TieBreaker = cmp.Or(s.GetTieBreaker(), "loss")
	c.oneOf("tie_breaker", s.GetTieBreaker(), "loss", ckpt.NoTieBreaker)
}
