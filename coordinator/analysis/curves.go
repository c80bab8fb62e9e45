package analysis

import (
	"cmp"
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Curves are those of the best trials of a sweep that were measured, the best first and at most this many (0: all), and the course of
// the best value over all trials. Trials come by number. Of two that are as good the lower number is first.
func Curves(j *tandemv1.Job, trials []*tandemv1.Trial, best int) *tandemv1.GetCurvesResponse {
	full := j.GetSpec()
	res := &tandemv1.GetCurvesResponse{Sweep: j.GetId(), Metric: full.GetMetric(), Mode: full.GetMode()}
	for _, t := range trials {
		e := state.BestEvaluation(full, t.GetEvaluations())
		value, measured := state.ValueOf(full, e)
		if measured {
			c := &tandemv1.Curve{Trial: t.GetNumber(), Points: points(full, t), BestValue: value, BestStep: e.GetStep()}
			res.Curves = append(res.Curves, c)
		}
		if n := len(res.Course); n > 0 && (!measured || state.BetterValue(full, res.Course[n-1].GetValue(), value)) {
			value, measured = res.Course[n-1].GetValue(), true
		}
		if measured {
			res.Course = append(res.Course, &tandemv1.CoursePoint{Trial: t.GetNumber(), Value: value})
		}
	}
	slices.SortStableFunc(res.Curves, func(a, b *tandemv1.Curve) int {
		if full.GetMode() == "max" {
			return cmp.Compare(b.GetBestValue(), a.GetBestValue())
		}
		return cmp.Compare(a.GetBestValue(), b.GetBestValue())
	})
	if best > 0 {
		res.Curves = res.Curves[:min(best, len(res.Curves))]
	}
	return res
}

// points are what was measured of a trial, in order of steps. What is not a number is left out.
func points(full *tandemv1.JobSpec, t *tandemv1.Trial) []*tandemv1.CurvePoint {
	var all []*tandemv1.CurvePoint
	for _, e := range t.GetEvaluations() {
		value, ok := state.ValueOf(full, e)
		if share, known := state.ShareOf(t, e.GetStep()); ok && known {
			all = append(all, &tandemv1.CurvePoint{Step: e.GetStep(), Share: share, Value: value})
		}
	}
	slices.SortStableFunc(all, func(a, b *tandemv1.CurvePoint) int { return cmp.Compare(a.GetStep(), b.GetStep()) })
	return all
}
