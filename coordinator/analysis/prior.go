package analysis

import (
	"errors"
	"fmt"
	"slices"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// maxPrior is how many trials of an earlier sweep another begins with: the first ones. They are held in the row of the sweep.
const maxPrior = 2000

// Prior is what the trials of an earlier sweep tell one with this spec, and how many trials that sweep made. It fails when they tell
// nothing: who asks for a warm start wants one.
func Prior(full *tandemv1.JobSpec, earlier *tandemv1.Job, trials []*tandemv1.Trial) (prior []*tandemv1.PriorTrial, made int, err error) {
	if full.GetSearch().GetMethod().GetName() == search.Grid {
		return nil, 0, errors.New("a grid does not learn from an earlier sweep: choose another method, or leave it out")
	}
	for _, t := range trials {
		made++
		if p := measurementOf(full, t); p != nil {
			prior = append(prior, p)
		}
	}
	prior, why := spec.Fitting(full, prior)
	switch {
	case len(prior) > maxPrior:
		prior = prior[:maxPrior]
	case len(prior) == 0 && why != nil:
		return nil, 0, fmt.Errorf("none of the %d trials of sweep %s fits this search: %w", made, earlier.GetId(), why)
	case len(prior) == 0:
		return nil, 0, fmt.Errorf("none of the %d trials of sweep %s has a value of %s", made, earlier.GetId(), full.GetMetric())
	}
	return prior, made, nil
}

// measurementOf is what a trial has found out about its point in the end; nil when it was never measured.
func measurementOf(full *tandemv1.JobSpec, t *tandemv1.Trial) *tandemv1.PriorTrial {
	for _, e := range slices.Backward(t.GetEvaluations()) {
		value, ok := state.ValueOf(full, e)
		if share, known := state.ShareOf(t, e.GetStep()); ok && known {
			return &tandemv1.PriorTrial{Parameters: t.GetParameters(), Value: value, Share: share}
		}
	}
	return nil
}
