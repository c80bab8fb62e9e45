package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// BestCheckpoint returns the best of the given checkpoints by the spec's metric and mode; of equals the one of the
// smallest step, then of the smallest id. Those without the metric and those being deleted do not count; nil if none is left.
func BestCheckpoint(spec *tandemv1.JobSpec, checkpoints []*tandemv1.Checkpoint) *tandemv1.Checkpoint {
	var best *tandemv1.Checkpoint
	for _, c := range checkpoints {
		value, ok := c.GetMetrics()[spec.GetMetric()]
		if !ok || value != value || c.GetDeleting() { // value != value: not a number
			continue
		}
		if best == nil || better(spec, c, best) {
			best = c
		}
	}
	return best
}

func better(spec *tandemv1.JobSpec, a, b *tandemv1.Checkpoint) bool {
	x, y := a.GetMetrics()[spec.GetMetric()], b.GetMetrics()[spec.GetMetric()]
	if spec.GetMode() == "max" {
		x, y = y, x
	}
	switch {
	case x != y:
		return x < y
	case a.GetStep() != b.GetStep():
		return a.GetStep() < b.GetStep()
	}
	return a.GetId() < b.GetId()
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
