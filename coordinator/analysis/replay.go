package analysis

import (
	"errors"
	"fmt"
	"math"

	"tandem.dev/coordinator/spec"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// ErrUnanswerable says that the trials do not hold what is asked for.
var ErrUnanswerable = errors.New("nothing can be said of this sweep")

// unanswerable is ErrUnanswerable with the reason alone.
type unanswerable struct{ error }

func (unanswerable) Is(target error) bool { return target == ErrUnanswerable }

// MethodError says what is wrong with a method to replay.
type MethodError struct {
	Index int // of the method
	Err   error
}

// Error implements error.
func (e *MethodError) Error() string { return fmt.Sprintf("methods[%d]: %v", e.Index, e.Err) }

// Unwrap returns what is wrong.
func (e *MethodError) Unwrap() error { return e.Err }

// Replay decides again on the recorded curves of a sweep's trials, which are in the order of their numbers. ErrUnanswerable if they have no
// curves of their own; a *MethodError for a method that cannot be used. slots 0: as many trials at a time as then.
func Replay(j *tandemv1.Job, trials []*tandemv1.Trial, methods []*tandemv1.MethodSpec, slots int) (*tandemv1.ReplaySweepResponse, error) {
	full := j.GetSpec()
	curves, err := curvesOf(j, trials)
	if err != nil {
		return nil, err
	}
	if slots == 0 {
		slots = int(max(1, full.GetSearch().GetMaxConcurrentTrials()))
	}
	r := &tandemv1.ReplaySweepResponse{
		Sweep: j.GetId(), Metric: full.GetMetric(), Mode: full.GetMode(), Trials: whole(len(curves)), Slots: whole(slots),
	}
	for i, m := range methods {
		cfg := spec.Config(full, nil)
		cfg.Method = spec.MethodOf(m)
		res, err := search.Replay(cfg, curves, slots)
		var wrong *search.ConfigError
		switch {
		case errors.As(err, &wrong):
			return nil, &MethodError{i, err}
		case err != nil:
			return nil, unanswerable{err}
		}
		best := res.BestRecorded
		r.Recorded = &tandemv1.RecordedTrials{Trained: res.Recorded, BestTrial: whole(best.Trial), BestValue: best.Value}
		r.Methods = append(r.Methods, replayed(res, cfg.Complete().Method, curves, trials))
	}
	return r, nil
}

func replayed(res search.Result, m search.Method, curves []search.Curve, trials []*tandemv1.Trial) *tandemv1.ReplayedMethod {
	out := &tandemv1.ReplayedMethod{
		Method: methodText(m), Trained: res.Trained, Time: res.Time, BestTrial: whole(res.Best.Trial), Missed: res.Missed,
		StoppedTrials: wholes(res.Stopped), UnknownTrials: wholes(res.Unknown), Blind: blind(m, curves, trials),
	}
	if res.Recorded > 0 {
		out.SavedShare = 1 - res.Trained/res.Recorded
	}
	if res.Best.Trial > 0 {
		by := math.Abs(res.Best.Value - res.BestRecorded.Value)
		out.BestValue, out.MissedBy = &res.Best.Value, &by
	}
	return out
}

// curvesOf are the recorded curves of trials, each from the beginning of its training.
func curvesOf(j *tandemv1.Job, trials []*tandemv1.Trial) ([]search.Curve, error) {
	var curves []search.Curve
	measured := false
	for _, t := range trials {
		if t.GetStartCheckpointId() != "" {
			return nil, unanswerable{fmt.Errorf(
				"trial %d began from a checkpoint of another, so its curve is not of its own hyper-parameters: nobody can decide again on it",
				t.GetNumber())}
		}
		c := search.Curve{Trial: int(t.GetNumber()), Point: t.GetParameters().AsMap()}
		for _, p := range points(j.GetSpec(), t) {
			c.Samples = append(c.Samples, search.Sample{Share: p.GetShare(), Value: p.GetValue()})
		}
		measured = measured || len(c.Samples) > 0
		curves = append(curves, c)
	}
	if !measured {
		return nil, unanswerable{fmt.Errorf("no trial of sweep %s was measured yet: see how far it is with `tandem sweep status %s`",
			j.GetId(), j.GetId())}
	}
	return curves, nil
}

// blind says why a method finds nothing to compare at its first rung, and what to do; empty when something was recorded by then.
func blind(m search.Method, curves []search.Curve, trials []*tandemv1.Trial) string {
	first, rung := 1.0, m.FirstRung()
	for _, c := range curves {
		if len(c.Samples) > 0 {
			first = min(first, c.Samples[0].Share)
		}
	}
	if rung >= first-1e-9 {
		return ""
	}
	total := int64(math.MaxInt64) // of the shortest training
	for _, t := range trials {
		if t.GetTotalSteps() > 0 {
			total = min(total, t.GetTotalSteps())
		}
	}
	todo := "In the next sweep evaluate more often"
	switch steps := int64(rung * float64(total)); { // 0 would be once an epoch
	case steps == 1:
		todo += " (evaluate.every_steps: 1)"
	case steps > 1:
		todo += fmt.Sprintf(" (evaluate.every_steps: 1 to %d)", steps)
	}
	fewer := m
	for fewer.Rungs > 1 && fewer.FirstRung() < first-1e-9 {
		fewer.Rungs--
	}
	if fewer.Rungs > 1 {
		todo = fmt.Sprintf("Decide again with rungs=%d or fewer. ", fewer.Rungs) + todo
	}
	return fmt.Sprintf("%s compares trials first when %s of the training is done, and the first value was recorded at %s: there it had nothing to compare. %s.",
		methodText(m), percent(rung), percent(first), todo)
}

// methodText is a complete method as --method takes it.
func methodText(m search.Method) string {
	text := m.Name
	add := func(name string, v any, is bool) {
		if is {
			text += fmt.Sprintf(",%s=%v", name, v)
		}
	}
	add("stop", m.Stop, m.Stop != "" && m.Stop != search.StopNone)
	add("divisor", m.Divisor, m.Divisor != 0)
	add("rungs", m.Rungs, m.Rungs != 0)
	add("variant", m.Variant, m.Variant != "" && m.Variant != search.VariantPromote)
	add("grace", m.Grace, m.Grace != 0)
	add("startup-trials", m.StartupTrials, m.StartupTrials != 0 && (m.Stop == search.StopMedian || m.Stop == search.StopMedianValue))
	return text
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

func whole(n int) int32 { return int32(n) } //nolint:gosec // numbers of trials and slots, which are bounded

func wholes(list []int) []int32 {
	out := make([]int32, 0, len(list))
	for _, n := range list {
		out = append(out, whole(n))
	}
	return out
}
