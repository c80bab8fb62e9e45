package search

import (
	"fmt"
	"math"
	"slices"
)

// population is population-based training (Jaderberg et al. 2017). A training has intervals; after each, a member that is among the worst of those
// that have got as far (by the quantile) gives its place to a new trial that begins from the checkpoint of one of the best, with its hyper-parameters
// changed a little. Members that are behind go first, so that all have about the same share behind them when they are compared.
//
// Every copy is a trial of its own: when no more may be made, the members train on as they are.
type population struct {
	search  *Searcher
	rungs   [][]entry // of each interval, ordered
	waiting []*trial  // by level, then number
	lost    []*trial  // members that failed or diverged, and are to be replaced
	fresh   int       // members still to be made from the beginning
}

func newPopulation(s *Searcher) *population {
	m := s.cfg.Method
	return &population{search: s, rungs: make([][]entry, m.Intervals), fresh: m.Population}
}

// milestone is the share at the end of an interval.
func (p *population) milestone(level int) float64 {
	return min(1, float64(level+1)/float64(len(p.rungs)))
}

func (p *population) next(create, _ bool) (move, bool) {
	if create && p.fresh > 0 {
		p.fresh--
		return move{until: p.milestone(0), reason: "a member of the population; " + trainsTo(p.milestone(0))}, true
	}
	if create && len(p.lost) > 0 {
		t := p.lost[0]
		p.lost = p.lost[1:]
		if from := p.source(t); from != nil {
			return p.copy(from, nil, fmt.Sprintf("in the place of trial %d, which is lost", t.n)), true
		}
		return move{until: p.milestone(0), reason: fmt.Sprintf("in the place of trial %d, which is lost; none of the best can be copied", t.n)}, true
	}
	if len(p.waiting) == 0 {
		return move{}, false
	}
	t := p.waiting[0]
	p.waiting = p.waiting[1:]
	e, of := entry{t.loss, t.n}, p.rungs[t.level]
	place, copies := rank(of, e), p.quantile(len(of))
	if create && place >= len(of)-copies {
		if from := p.source(t); from != nil {
			return p.copy(from, t, fmt.Sprintf("number %d of %d at %s gives its place to a copy of trial %d", place+1, len(of), percent(p.milestone(t.level)), from.n)), true
		}
	}
	reason := fmt.Sprintf("is number %d of %d at %s", place+1, len(of), percent(p.milestone(t.level)))
	return move{continues: t, until: p.milestone(t.level + 1), level: t.level + 1, reason: reason}, true
}

// quantile of n members.
func (p *population) quantile(n int) int { return int(p.search.cfg.Method.Quantile*float64(n) + 1e-9) }

// source is one of the best at the level of t that still has training before it; nil when there is none.
func (p *population) source(t *trial) *trial {
	of := p.rungs[t.level]
	var from []*trial
	for _, e := range of[:max(p.quantile(len(of)), min(1, len(of)))] {
		o := p.search.trial(e.trial)
		if o != t && o.state != over && !o.stopping && o.share < 1 && !worst(e.loss) {
			from = append(from, o)
		}
	}
	if len(from) == 0 {
		return nil
	}
	return from[newRNG(uint64(p.search.cfg.Seed), forPopulation, uint64(len(p.search.trials))).intn(len(from))]
}

// copy makes a trial from another's checkpoint. It trains to where that one is to go, which may have got there and not said so yet.
func (p *population) copy(from, replaces *trial, reason string) move {
	level := from.level
	if from.state == waiting || from.share >= p.milestone(level) {
		level++
	}
	return move{until: p.milestone(level), level: level, x: p.explore(from.x), from: from, replaces: replaces, reason: reason}
}

// Chances and factors of the paper (section 4.1.1 and appendix A).
const resample = 0.25

var perturb = [2]float64{0.8, 1.2}

// explore changes the hyper-parameters a little: each is drawn anew with some chance, else a number is multiplied and a choice stays.
func (p *population) explore(x []float64) []float64 {
	c := p.search.cube
	r := newRNG(uint64(p.search.cfg.Seed), forPopulation, forPoint, uint64(len(p.search.trials)))
	y, was := c.uniform(r), c.active(x)
	for i := range c.params {
		param := &c.params[i]
		again, factor := r.float() < resample, perturb[r.intn(2)]
		switch {
		case again || !was[i]:
		case param.kind == choice:
			y[i] = x[i]
		default:
			y[i] = param.times(x[i], factor)
		}
	}
	return y
}

// times is the coordinate of the number at u multiplied by a factor, as far as the domain goes. A whole number moves by a step at least.
func (p *param) times(u, factor float64) float64 {
	v := p.value(u).(float64)
	to := min(max(v*factor, p.min), p.max)
	if p.kind == whole {
		cell := int(math.Round((to - p.min) / p.step))
		if cell == p.cell(u) {
			cell += map[bool]int{true: 1, false: -1}[factor > 1]
		}
		return p.middle(min(max(cell, 0), p.n-1))
	}
	if p.kind == logarithmic {
		return math.Log(to/p.min) / math.Log(p.max/p.min)
	}
	return (to - p.min) / (p.max - p.min)
}

func (*population) measured(*trial) string { return "" }

func (p *population) reached(t *trial) {
	p.rungs[t.level] = put(p.rungs[t.level], entry{t.loss, t.n})
	at := slices.IndexFunc(p.waiting, func(o *trial) bool { return o.level > t.level || o.level == t.level && o.n > t.n })
	if at < 0 {
		at = len(p.waiting)
	}
	p.waiting = slices.Insert(p.waiting, at, t)
}

func (p *population) ended(t *trial, o Outcome) {
	if t.state == waiting {
		p.waiting = slices.DeleteFunc(p.waiting, func(w *trial) bool { return w == t })
		return
	}
	if o == Failed || o == Diverged {
		p.rungs[t.level] = put(p.rungs[t.level], entry{t.loss, t.n})
		p.lost = append(p.lost, t)
	}
}

// extended: another population.
func (p *population) extended() { p.fresh += p.search.cfg.Method.Population }
