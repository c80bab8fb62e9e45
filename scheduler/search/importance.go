package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Importance says how much of what makes a trial good lies in one hyper-parameter.
type Importance struct {
	Name string
	// Share of the importance of all, from 0 to 1.
	Share float64
}

const (
	topShare    = 0.25 // of the trials are called good
	leastTrials = 10
	mostCells   = 32  // a coordinate without number of values is cut into so many
	pseudoCount = 1.0 // spread over all cells
)

// Importances ranks the hyper-parameters by PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
// Arbitrary Subspaces"): how far the distribution of each among the good trials is from that among all (the Pearson divergence). It looks at the
// order of the trials only, so what diverged does no harm, and it does not mind that a method has tried good places more often.
// Trials that got further in their training are better, as they are for TPE. Most important first.
func Importances(space Space, mode Mode, trials []Prior) ([]Importance, error) {
	c, wrong := space.compile()
	if len(wrong) > 0 {
		return nil, &ConfigError{wrong}
	}
	type ranked struct {
		x           []float64
		active      []bool
		share, loss float64
	}
	s := &Searcher{cfg: Config{Mode: mode}}
	var all []ranked
	for _, t := range trials {
		if x, err := c.at(t.Point); err == nil {
			all = append(all, ranked{x, c.active(x), t.Share, s.loss(t.Value)})
		}
	}
	if len(all) < leastTrials {
		return nil, fmt.Errorf("importance needs at least %d trials of this space that were measured, and there are %d", leastTrials, len(all))
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(a.loss, b.loss))
	})
	good := int(math.Ceil(topShare * float64(len(all))))
	list := make([]Importance, len(c.params))
	total := 0.0
	for i, p := range c.params {
		var top, every []float64
		for k, t := range all {
			if !t.active[i] {
				continue
			}
			every = append(every, t.x[i])
			if k < good {
				top = append(top, t.x[i])
			}
		}
		list[i] = Importance{p.name, divergence(p, top, every) * float64(len(every)) / float64(len(all))}
		total += list[i].Share
	}
	for i := range list {
		if total > 0 {
			list[i].Share /= total
		}
	}
	slices.SortStableFunc(list, func(a, b Importance) int { return cmp.Compare(b.Share, a.Share) })
	return list, nil
}

// divergence of the distribution of top from that of all: the mean under the latter of (ratio - 1) squared.
func divergence(p param, top, all []float64) float64 {
	if p.n == 1 || len(all) == 0 {
		return 0
	}
	first, second := histogram(p, top), histogram(p, all)
	sum := 0.0
	for i, q := range second {
		sum += (first[i] - q) * (first[i] - q) / q
	}
	return sum
}

// histogram of the coordinates, smoothed: choices by counting one more, spread over all of them; numbers by normal distributions as wide as Scott's rule says.
func histogram(p param, x []float64) []float64 {
	n := mostCells
	if p.n > 0 {
		n = min(p.n, mostCells)
	}
	h := make([]float64, n)
	for i := range h {
		h[i] = pseudoCount / float64(n)
	}
	points := make([]observation, len(x))
	for i := range x {
		points[i] = observation{x: x[i : i+1], active: []bool{true}}
	}
	width := max(deviation(points, 0)*math.Pow(float64(len(x)+1), -0.2), 0.5/float64(n))
	for _, v := range x {
		if p.kind == choice {
			h[p.cell(v)]++
			continue
		}
		inside := normalCDF((1-v)/width) - normalCDF(-v/width)
		for i := range h {
			low, high := float64(i)/float64(n), float64(i+1)/float64(n)
			h[i] += (normalCDF((high-v)/width) - normalCDF((low-v)/width)) / inside
		}
	}
	for i := range h {
		h[i] /= float64(len(x)) + pseudoCount
	}
	return h
}
