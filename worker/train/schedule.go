package train

import (
	"math"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Schedule is the learning rate over steps: a linear warm-up, then a constant rate or half
// a cosine down to a share of it.
type Schedule struct {
	Peak   float64 // rate after the warm-up
	Warmup int64   // steps of the warm-up; step Warmup-1 is the first at Peak
	Total  int64   // steps of the training
	Cosine bool
	Final  float64 // rate at the end of the cosine, as a share of Peak
}

// At returns the rate of a step, counted from 0.
func (s Schedule) At(step int64) float64 {
	if step < s.Warmup {
		return s.Peak * float64(step+1) / float64(s.Warmup)
	}
	if !s.Cosine {
		return s.Peak
	}
	done := float64(step-s.Warmup) / float64(max(1, s.Total-s.Warmup))
	return s.Peak * (s.Final + (1-s.Final)*0.5*(1+math.Cos(math.Pi*min(1, done))))
}

func newSchedule(spec *tandemv1.ScheduleSpec, peak float64, total int64) (Schedule, error) {
	s := Schedule{Peak: peak, Warmup: spec.GetWarmupSteps(), Total: total, Final: spec.GetFinalRatio()}
	switch spec.GetName() {
	case "", "constant":
	case "cosine":
		s.Cosine = true
	default:
		return s, permanentf("training.schedule.name is %q; use constant or cosine", spec.GetName())
	}
	if s.Warmup < 0 || s.Final < 0 || s.Final > 1 {
		return s, permanentf("training.schedule: warmup_steps is %d and final_ratio %v; the first must not be negative, the second lie between 0 and 1", s.Warmup, s.Final)
	}
	return s, nil
}
