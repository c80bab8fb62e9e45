package search

import "fmt"

// ladder is successive halving without waiting for a rung to be full: ASHA, algorithm 2 of Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht and
// Talwalkar, "A System for Massively Parallel Hyperparameter Tuning" (2018, MLSys 2020). A free place goes to a trial that is among the best
// 1/divisor of its rung and waits there, the highest rung first; else to a new trial. With several brackets it is the asynchronous Hyperband of
// the same paper.
//
// The paper's search never ends, so the best gets to the top sooner or later; ours has a number of trials, and 24 trials would leave 6, 1 and then
// none. With several brackets the first to get there is one that began there, compared with nobody. So when nothing else is left to do, the best of
// all that wait trains to the end, unless one that has is better: no search ends with a winner that was not trained to the end and could be.
type ladder struct {
	search    *Searcher
	brackets  []*bracket
	completed entry // the best value of those that trained to the end; no trial: there is none
}

// bracket is a ladder of rungs; trials begin at the lowest and train to its milestone first.
type bracket struct {
	milestones []float64
	rungs      []rung
	first      int     // level of its lowest rung
	weight     float64 // of new trials, this part goes to this bracket
	made       int
}

func newBracket(m Method, first int, weight float64) *bracket {
	return &bracket{milestones: m.milestones(), rungs: make([]rung, m.Rungs), first: first, weight: weight}
}

func (l *ladder) next(create, idle bool) (move, bool) {
	divisor := l.search.cfg.Method.Divisor
	top := l.search.cfg.Method.Rungs - 1
	for level := top - 1; level >= 0; level-- {
		for _, b := range l.brackets {
			r := &b.rungs[level]
			if e, place, ok := r.best(); ok && place < r.size()/divisor {
				reason := fmt.Sprintf("is number %d of %d at %s, where 1 of %d goes on", place+1, r.size(), percent(b.milestones[level]), divisor)
				return l.goOn(b, e, level, level+1, reason), true
			}
		}
	}
	if create {
		b := l.emptiest()
		b.made++
		reason := trainsTo(b.milestones[b.first])
		return move{until: b.milestones[b.first], level: b.first, bracket: l.index(b), reason: reason}, true
	}
	if idle {
		return l.finale(top)
	}
	return move{}, false
}

// goOn lets a trial that waits at a level train to a higher one.
func (l *ladder) goOn(b *bracket, e entry, level, to int, reason string) move {
	b.rungs[level].settle(e)
	return move{continues: l.search.trial(e.trial), until: b.milestones[to], level: to, reason: reason}
}

// finale lets the one train to the end that would win now. Its values until now count then as those of one that has.
func (l *ladder) finale(top int) (move, bool) {
	var in *bracket
	var first, at entry // its best value, and what it waits with
	var level int
	for _, b := range l.brackets {
		for k := range top {
			for _, e := range b.rungs[k].waiting {
				if best := (entry{l.search.trial(e.trial).best, e.trial}); in == nil || best.before(first) < 0 {
					in, first, at, level = b, best, e, k
				}
			}
		}
	}
	if in == nil || l.completed.trial != 0 && l.completed.before(first) < 0 {
		return move{}, false
	}
	return l.goOn(in, at, level, top, "is the best so far, at "+percent(in.milestones[level])+", and has not trained to the end"), true
}

// emptiest bracket, by the part that it should have.
func (l *ladder) emptiest() *bracket {
	best := l.brackets[0]
	for _, b := range l.brackets {
		if float64(b.made)*best.weight < float64(best.made)*b.weight {
			best = b
		}
	}
	return best
}

func (l *ladder) index(b *bracket) int {
	for i, o := range l.brackets {
		if o == b {
			return i
		}
	}
	return -1
}

func (l *ladder) measured(*trial) string { return "" }

func (l *ladder) reached(t *trial) {
	r := &l.brackets[t.bracket].rungs[t.level]
	if worst(t.loss) {
		r.settled = put(r.settled, entry{t.loss, t.n})
		return
	}
	r.waiting = put(r.waiting, entry{t.loss, t.n})
}

func (l *ladder) ended(t *trial, o Outcome) {
	r := &l.brackets[t.bracket].rungs[t.level]
	switch {
	case t.state == waiting:
		r.settle(entry{t.loss, t.n})
	case o != Stopped:
		r.settled = put(r.settled, entry{t.loss, t.n})
		if best := (entry{t.best, t.n}); o == Completed && (l.completed.trial == 0 || best.before(l.completed) < 0) {
			l.completed = best
		}
	}
}

func (l *ladder) extended() {}

// halting is the variant of ASHA that stops (Syne Tune's and Ray Tune's): a trial trains on unless, at a milestone, it is not among the best
// 1/divisor of those that have got there. The first few, too few to tell, go on.
type halting struct {
	search     *Searcher
	milestones []float64
	rungs      []rung
}

func (h *halting) next(create, _ bool) (move, bool) {
	return move{until: 1}, create
}

func (h *halting) measured(t *trial) string {
	divisor := h.search.cfg.Method.Divisor
	for t.level < len(h.milestones)-1 && t.share >= h.milestones[t.level]-1e-9 {
		level := t.level
		r := &h.rungs[level]
		e := entry{t.loss, t.n}
		r.settled = put(r.settled, e)
		h.search.tell(t, level)
		place := rank(r.settled, e)
		if worst(t.loss) || r.size() >= divisor && place >= r.size()/divisor {
			return fmt.Sprintf("is number %d of %d at %s, where 1 of %d goes on", place+1, r.size(), percent(h.milestones[level]), divisor)
		}
		t.level++
	}
	return ""
}

func (h *halting) reached(*trial) {}

func (h *halting) ended(t *trial, o Outcome) {
	if o == Failed || o == Diverged {
		h.rungs[t.level].settled = put(h.rungs[t.level].settled, entry{t.loss, t.n})
	}
}

func (h *halting) extended() {}
