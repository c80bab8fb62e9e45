package plausible

import (
	"cmp"
	"fmt"
	"math"
	"regexp"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// mostSteps is more than any spec can ask for, and still a number that JSON keeps.
	mostSteps = 1 << 53
	// mostMetrics is many times what engines measure.
	mostMetrics = 32
)

// metricName is what metrics are called.
var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Report says why a report cannot be true, and "" when it can. The generation and the steps of a member are known by the state; it may
// be ahead of the group that is committed by the one that it prepares for.
func Report(v *state.View, r *tandemv1.EngineReport) string {
	total, generation := int64(mostSteps), int64(math.MaxInt64)
	if id, _, ok := state.ParseEngineID(r.GetEngineId()); ok {
		if a, ok := v.Allocation(id); ok {
			generation = a.GetGeneration() + 1
			t, _ := v.Trial(a.GetTrialId())
			total = cmp.Or(t.GetTotalSteps(), total)
		}
	}
	if g := r.GetGeneration(); g < 0 || g > generation {
		return fmt.Sprintf("generation %d is not one of its allocation", g)
	}
	switch body := r.GetReport().(type) {
	case *tandemv1.EngineReport_Ready:
		return steps("total_steps", body.Ready.GetTotalSteps(), mostSteps)
	case *tandemv1.EngineReport_Formed:
		return steps("step", body.Formed.GetStep(), total)
	case *tandemv1.EngineReport_Broken:
		return steps("step", body.Broken.GetStep(), total)
	case *tandemv1.EngineReport_Stopped:
		return steps("step", body.Stopped.GetStep(), total)
	case *tandemv1.EngineReport_Checkpoint:
		c := body.Checkpoint.GetCheckpoint()
		if c.GetGeneration() < 0 || c.GetGeneration() > generation {
			return fmt.Sprintf("generation %d is not one of its allocation", c.GetGeneration())
		}
		return cmp.Or(steps("step", c.GetStep(), total), size(c.GetBytes()), finite(c.GetMetrics()), metrics(c.GetMetrics()))
	case *tandemv1.EngineReport_Evaluation:
		e := body.Evaluation
		return cmp.Or(steps("step", e.GetStep(), total), amount("epoch", e.GetEpoch()), metrics(e.GetMetrics()))
	case *tandemv1.EngineReport_Version:
		return cmp.Or(size(body.Version.GetBytes()), finite(body.Version.GetMetrics()), metrics(body.Version.GetMetrics()))
	}
	return ""
}

// Progress says why progress of a trial cannot be true, and "" when it can. The loss and what follows from it may be no number.
func Progress(t *tandemv1.Trial, p *tandemv1.Progress) string {
	total := cmp.Or(t.GetTotalSteps(), int64(mostSteps))
	why := cmp.Or(steps("step", p.GetStep(), total), steps("total_steps", p.GetTotalSteps(), total), amount("epoch", p.GetEpoch()))
	return cmp.Or(why, amount("samples_per_second", p.GetSamplesPerSecond()), amount("steps_per_second", p.GetStepsPerSecond()),
		amount("eta_seconds", p.GetEtaSeconds()), amount("lr", p.GetLr()))
}

func steps(field string, n, most int64) string {
	if n < 0 || n > most {
		return fmt.Sprintf("%s %d is not from 0 to %d", field, n, most)
	}
	return ""
}

func size(bytes int64) string {
	if bytes < 0 {
		return fmt.Sprintf("bytes %d is below 0", bytes)
	}
	return ""
}

// amount checks a number that is 0 or more.
func amount(field string, x float64) string {
	if !(x >= 0 && x <= mostSteps) {
		return fmt.Sprintf("%s %g is not from 0 to %d", field, x, int64(mostSteps))
	}
	return ""
}

// finite checks the metrics of what is kept: a training that diverges keeps no checkpoint and publishes nothing.
func finite(m map[string]float64) string {
	for name, x := range m {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Sprintf("metric %.80q is %g", name, x)
		}
	}
	return ""
}

// metrics checks names, and the one value that has a range whatever a training comes to.
func metrics(m map[string]float64) string {
	if len(m) > mostMetrics {
		return fmt.Sprintf("%d metrics are more than %d", len(m), mostMetrics)
	}
	for name := range m {
		if !metricName.MatchString(name) {
			return fmt.Sprintf("%.80q is not the name of a metric", name)
		}
	}
	if x, ok := m["accuracy"]; ok && !(x >= 0 && x <= 1) {
		return fmt.Sprintf("accuracy %g is not from 0 to 1", x)
	}
	return ""
}
