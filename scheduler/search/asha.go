package search

import "fmt"

// ladder is successive halving without waiting for a rung to be full: ASHA, algorithm 2 of Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht and
// Talwalkar, "A System for Massively Parallel Hyperparameter Tuning" (2018, MLSys 2020). A free place goes to a trial that is among the best
// 1/divisor of its rung and waits there, the highest rung first; else to a new trial. With several brackets it is the asynchronous Hyperband of
// the same paper.
//
// The paper's search never ends, so a trial gets to the top sooner or later; ours has a number of trials, and 24 trials would leave 6, 1 and then none.
// So when nothing else is left to do and no trial has trained to the end, the best of the highest rung does, as in synchronous successive halving.
type ladder struct {
	search    *Searcher
	brackets  []*bracket
	completed bool
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
			if _, place, ok := r.best(); ok && place < r.size()/divisor {
				reason := fmt.Sprintf("is number %d of %d at %s, where 1 of %d goes on", place+1, r.size(), percent(b.milestones[level]), divisor)
				return l.goOn(b, level, level+1, reason), true
			}
		}
	}
	if create {
		b := l.emptiest()
		b.made++
		reason := trainsTo(b.milestones[b.first])
		return move{until: b.milestones[b.first], level: b.first, bracket: l.index(b), reason: reason}, true
	}
	if idle && !l.completed {
		return l.finale(top)
	}
	return move{}, false
}

// goOn lets the best that waits at a level train to a higher one.
func (l *ladder) goOn(b *bracket, level, to int, reason string) move {
	e := b.rungs[level].waiting[0]
	b.rungs[level].settle(e)
	return move{continues: l.search.trial(e.trial), until: b.milestones[to], level: to, reason: reason}
}

// finale lets the best of the highest rung train to the end.
func (l *ladder) finale(top int) (move, bool) {
	for level := top - 1; level >= 0; level-- {
		var in *bracket
		for _, b := range l.brackets {
			e, _, ok := b.rungs[level].best()
			if ok && (in == nil || e.before(in.rungs[level].waiting[0]) < 0) {
				in = b
			}
		}
		if in != nil {
			return l.goOn(in, level, top, "is the best of those that got to "+percent(in.milestones[level])+", and no trial has trained to the end"), true
		}
	}
	return move{}, false
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
		l.completed = l.completed || o == Completed
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
