package analysis

import (
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// Importance ranks the hyper-parameters by the best value of each trial and how far it got. ErrUnanswerable with too few trials.
func Importance(j *tandemv1.Job, trials []*tandemv1.Trial) (*tandemv1.GetImportanceResponse, error) {
	var known []search.Prior
	for _, t := range trials {
		best := state.BestEvaluation(j.GetSpec(), t.GetEvaluations())
		if share, trained := state.ShareOf(t, state.StepOf(t)); best != nil && trained {
			value := best.GetMetrics()[j.GetSpec().GetMetric()]
			known = append(known, search.Prior{Point: t.GetParameters().AsMap(), Value: value, Share: share})
		}
	}
	cfg := spec.Config(j.GetSpec(), nil)
	list, err := search.Importances(cfg.Space, cfg.Mode, known)
	if err != nil {
		return nil, unanswerable{err}
	}
	res := &tandemv1.GetImportanceResponse{Sweep: j.GetId()}
	for _, i := range list {
		res.Importance = append(res.Importance, &tandemv1.Importance{Parameter: i.Name, Share: i.Share})
	}
	return res, nil
}
