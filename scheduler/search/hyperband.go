package search

import "math"

// newHyperband is Hyperband (Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar 2018) made asynchronous as in section 3.2 of the ASHA paper: brackets
// are ladders that begin at different rungs, so that a search does not depend on the first rung telling much. The paper goes through its brackets in
// turn; ours spreads each new trial so that at any time every bracket has had its part, since a search may be shorter than one round.
func newHyperband(s *Searcher) *ladder {
	m := s.cfg.Method
	l := &ladder{search: s}
	for first := range m.Rungs {
		l.brackets = append(l.brackets, newBracket(m, first, bracketSize(m, first)))
	}
	return l
}

// bracketSize is the paper's number of trials of the bracket that begins at a rung: equal cost for each bracket.
func bracketSize(m Method, first int) float64 {
	halvings := m.Rungs - 1 - first
	return math.Ceil(float64(m.Rungs) / float64(halvings+1) * math.Pow(float64(m.Divisor), float64(halvings)))
}
