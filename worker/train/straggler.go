package train

import "slices"

// Stragglers finds ranks that compute slower than the others, which all of them wait for. It
// is pure: it is fed at the syncs, with the same values on any rank it says the same.
type Stragglers struct {
	ranks []straggling
}

// StragglerChange says that a rank became a straggler, or is none any more.
type StragglerChange struct {
	Rank  int
	Slow  bool
	Ratio float64 // of its time to the median of the ranks
}

const (
	stragglerRatio = 1.5 // of the median time of a step
	stragglerSteps = 10  // in a row, to become one and to be none any more
	// stragglerTime is how much computing these take at least, in seconds: a busy moment of a machine is many short steps.
	stragglerTime = 1
)

// straggling is one rank's.
type straggling struct {
	slow  bool
	steps int64   // in a row that were not as slow says
	spent float64 // seconds they took
}

// Observe takes the time that each rank spent computing (data, forward and backward, without
// communication) in the last steps, in seconds, and how many steps these were. It returns what
// changed. With another number of ranks it begins anew; single ranks are not stragglers.
func (s *Stragglers) Observe(times []float64, steps int64) []StragglerChange {
	if len(times) != len(s.ranks) {
		s.ranks = make([]straggling, len(times))
	}
	if len(times) < 2 || steps <= 0 {
		return nil
	}
	// Of an even number of ranks the lower one of the two in the middle counts: of two ranks
	// the faster, or the slower could be three times as slow before it is said.
	median := slices.Sorted(slices.Values(times))[(len(times)-1)/2]
	var changes []StragglerChange
	for rank, took := range times {
		p := &s.ranks[rank]
		if slow := took > stragglerRatio*median; slow == p.slow {
			p.steps, p.spent = 0, 0
			continue
		}
		p.steps, p.spent = p.steps+steps, p.spent+took
		if p.steps < stragglerSteps || p.spent < stragglerTime {
			continue
		}
		p.slow, p.steps, p.spent = !p.slow, 0, 0
		change := StragglerChange{Rank: rank, Slow: p.slow}
		if median > 0 {
			change.Ratio = took / median
		}
		changes = append(changes, change)
	}
	return changes
}
