package state

import (
	"cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
)

// Compare orders what was measured of two states of a model by the metric of a spec, then by its tie-breaker: see ckpt.Order.
func Compare(spec *tandemv1.JobSpec, a, b map[string]float64) (order int, ok bool) {
	return ckpt.Order{Metric: spec.GetMetric(), Maximize: spec.GetMode() == "max", TieBreaker: spec.GetTieBreaker()}.Compare(a, b)
}

// BestEvaluation returns the best evaluation by the spec's metric, mode and tie-breaker, of equals the first; nil: none has the metric.
func BestEvaluation(spec *tandemv1.JobSpec, all []*tandemv1.Evaluation) (best *tandemv1.Evaluation) {
	for _, e := range all {
		if _, ok := ValueOf(spec, e); !ok {
			continue
		}
		if order, _ := Compare(spec, e.GetMetrics(), best.GetMetrics()); best == nil || order < 0 {
			best = e
		}
	}
	return best
}

// BestCheckpoint returns the best of the given checkpoints by the spec's metric, mode and tie-breaker; of equals the one of the
// smallest step, then of the smallest id. Those without the metric and those being deleted do not count; nil if none is left.
func BestCheckpoint(spec *tandemv1.JobSpec, checkpoints []*tandemv1.Checkpoint) *tandemv1.Checkpoint {
	var best *tandemv1.Checkpoint
	for _, c := range checkpoints {
		if _, ok := Compare(spec, c.GetMetrics(), c.GetMetrics()); !ok || c.GetDeleting() {
			continue
		}
		if best == nil || better(spec, c, best) {
			best = c
		}
	}
	return best
}

func better(spec *tandemv1.JobSpec, a, b *tandemv1.Checkpoint) bool {
	order, _ := Compare(spec, a.GetMetrics(), b.GetMetrics())
	return cmp.Or(order, cmp.Compare(a.GetStep(), b.GetStep()), cmp.Compare(a.GetId(), b.GetId())) < 0
}

// LatestCheckpoint returns the checkpoint of the largest step; of equals that of the largest generation, then id.
// Those being deleted do not count; nil if none is left.
func LatestCheckpoint(checkpoints []*tandemv1.Checkpoint) *tandemv1.Checkpoint {
	var latest *tandemv1.Checkpoint
	for _, c := range checkpoints {
		if !c.GetDeleting() && (latest == nil || later(c, latest)) {
			latest = c
		}
	}
	return latest
}

func later(a, b *tandemv1.Checkpoint) bool {
	switch {
	case a.GetStep() != b.GetStep():
		return a.GetStep() > b.GetStep()
	case a.GetGeneration() != b.GetGeneration():
		return a.GetGeneration() > b.GetGeneration()
	}
	return a.GetId() > b.GetId()
}
