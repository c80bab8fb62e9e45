package search

import (
	"fmt"
	"sort"
)

// sampler proposes points, as coordinates of the cube. A proposed point counts as pending until it is told.
type sampler interface {
	// propose a point for trial n, and say why; false, and why not, when there are no more.
	propose(n int) ([]float64, string, bool)
	// tell the loss of a trial at a level (an index of the milestones); each level at most once, in any order of trials. It may be +Inf.
	// Trials whose points it did not propose, and earlier searches (number 0), are told as well.
	tell(n int, x []float64, level int, loss float64)
}

// newSampler makes the sampler of a method and tells it what is known from earlier searches.
func newSampler(cfg Config, c *cube, milestones []float64) sampler {
	name := cfg.Method.Sampler
	switch cfg.Method.Name {
	case ASHA, Hyperband:
	case BOHB:
		name = TPE
	case PBT:
		name = Random
	default:
		name = cfg.Method.Name
	}
	known, seed := priors(cfg, c, milestones), uint64(cfg.Seed)
	switch name {
	case Grid:
		return &grid{cube: c}
	case TPE:
		return newTPE(c, seed, cfg.Method, len(milestones), known)
	case CMAES:
		return newCMAES(c, seed, len(milestones), cfg.MaxConcurrent, known)
	case Sobol:
		return &seen{sampler: newSobol(c, seed), best: known}
	}
	return &seen{sampler: &random{cube: c, seed: seed}, best: known}
}

// random draws every point uniformly (Bergstra and Bengio 2012).
type random struct {
	cube *cube
	seed uint64
}

func (r *random) propose(n int) ([]float64, string, bool) {
	return r.cube.uniform(newRNG(r.seed, forPoint, uint64(n))), "a random point", true
}

func (*random) tell(int, []float64, int, float64) {}

// prior is a point that an earlier search has measured.
type prior struct {
	x     []float64
	level int // the last milestone it had got to
	loss  float64
}

// priors are those that fit the space and have got to a milestone, the best first.
func priors(cfg Config, c *cube, milestones []float64) []prior {
	s := &Searcher{cfg: cfg}
	var known []prior
	for _, p := range cfg.Prior {
		if x, level, err := c.place(p, milestones); err == nil {
			known = append(known, prior{x, level, s.loss(p.Value)})
		}
	}
	sort.SliceStable(known, func(i, j int) bool {
		a, b := known[i], known[j]
		return a.level > b.level || a.level == b.level && a.loss < b.loss
	})
	return known
}

// place is where a search has a prior: its point, and the last milestone that it had got to.
func (c *cube) place(p Prior, milestones []float64) (x []float64, level int, err error) {
	if x, err = c.at(p.Point); err != nil {
		return nil, 0, err
	}
	level = sort.Search(len(milestones), func(i int) bool { return milestones[i] > p.Share+1e-9 }) - 1
	if level < 0 {
		return nil, 0, fmt.Errorf("the point %s was measured at %s, and this search compares at %s first", pointText(p.Point), percent(p.Share), percent(milestones[0]))
	}
	return x, level, nil
}

// Fits says which of the priors of a valid config its search can begin with, by their index, and why not of the first of the others.
func (c Config) Fits() (fit []int, why error) {
	c = c.Complete()
	cube, _ := c.Space.compile()
	milestones := (&Searcher{cfg: c}).levels()
	for i, p := range c.Prior {
		_, _, err := cube.place(p, milestones)
		if err == nil {
			fit = append(fit, i)
		} else if why == nil {
			why = err
		}
	}
	return fit, why
}

// seen tries the best points of earlier searches first; it is for samplers that do not learn.
type seen struct {
	sampler
	best []prior
	next int
}

// maxSeen is how many points of earlier searches are tried again.
const maxSeen = 3

func (s *seen) propose(n int) ([]float64, string, bool) {
	if s.next < min(len(s.best), maxSeen) {
		s.next++
		return s.best[s.next-1].x, fmt.Sprintf("number %d of the earlier sweep", s.next), true
	}
	return s.sampler.propose(n)
}
