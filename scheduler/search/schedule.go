package search

import "math"

// newSchedule makes the schedule of a method.
func newSchedule(s *Searcher) schedule {
	m := s.cfg.Method
	switch {
	case m.Name == ASHA && m.Variant == VariantPromote:
		return &ladder{search: s, brackets: []*bracket{newBracket(m, 0, 1)}}
	case m.Name == Hyperband || m.Name == BOHB:
		return newHyperband(s)
	case m.laddered():
		return &halting{search: s, milestones: m.milestones(), rungs: make([]rung, m.Rungs)}
	case m.Name == PBT:
		return newPopulation(s)
	case m.medians():
		return &median{search: s, grace: m.Grace, least: m.StartupTrials, values: m.Stop == StopMedianValue}
	}
	return unscheduled{}
}

// levels are the shares at which trials are compared, the last is 1.
func (s *Searcher) levels() []float64 {
	if s.cfg.Method.laddered() {
		return s.cfg.Method.milestones()
	}
	if s.cfg.Method.Name == PBT {
		return make([]float64, s.cfg.Method.Intervals)
	}
	return []float64{1}
}

// unscheduled trains every trial to the end.
type unscheduled struct{}

func (unscheduled) next(create, _ bool) (move, bool) { return move{until: 1}, create }
func (unscheduled) measured(*trial) string           { return "" }
func (unscheduled) reached(*trial)                   {}
func (unscheduled) ended(*trial, Outcome)            {}
func (unscheduled) extended()                        {}

// worst says that a loss is of a trial that failed, diverged or was not measured: it counts in its rung, but never goes on.
func worst(loss float64) bool { return math.IsInf(loss, 1) }
