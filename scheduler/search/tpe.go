package search

import (
	"fmt"
	"math"
	"slices"
)

// tpe is the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl 2011): it fits one density to the best points and one to the
// others, draws from the first, and takes what is likeliest under the first against the second. Densities are over all hyper-parameters at
// once (Falkner, Klein and Hutter 2018, "BOHB"), each kernel a product; where a kernel's point lacks a hyper-parameter, it has no opinion on it.
// Points that are pending count among the others (a constant liar), so that parallel trials keep apart.
//
// Where trials train to different milestones there are two ways to say which are best. By default those that got further are better, as in Optuna:
// they were the best where the rest stayed behind. That does not hold for BOHB, whose brackets begin at different rungs: it fits the trials of the
// highest milestone that enough have got to, as its paper says.
type tpe struct {
	cube    *cube
	seed    uint64
	startup int
	bohb    bool
	seen    []observation
	levels  []history
	at      []int   // the last level each observation was told at, -1 for none
	pending []entry // of what is proposed and not told; loss is not used
	ids     map[int]int
}

// observation is a point; whole numbers are in the middle of their cell.
type observation struct {
	x      []float64
	active []bool
	loss   float64
}

// history is what is known at a level; for bohb all that was told there, else those that got no further. Entries name observations.
type history struct {
	ranked []entry
	recent []int // the newest, at most maxOthers
}

const (
	candidates = 24  // points drawn to choose from
	goodShare  = 0.1 // of all points, the first density is fitted to these
	mostGood   = 25  // but to no more than these
	maxOthers  = 200 // the second is fitted to the newest, no more than these
	enough     = 50  // points that BOHB wants at a milestone before it fits them rather than those of a lower one
)

func newTPE(c *cube, seed uint64, m Method, levels int, known []prior) *tpe {
	t := &tpe{cube: c, seed: seed, startup: m.StartupTrials, bohb: m.Name == BOHB, levels: make([]history, levels), ids: map[int]int{}}
	for _, p := range known {
		t.record(t.observe(p.x), p.level, p.loss)
	}
	return t
}

// observe a point.
func (t *tpe) observe(x []float64) int {
	x = slices.Clone(x)
	for i, p := range t.cube.params {
		if p.n > 0 {
			x[i] = p.middle(p.cell(x[i]))
		}
	}
	t.seen = append(t.seen, observation{x: x, active: t.cube.active(x)})
	t.at = append(t.at, -1)
	return len(t.seen) - 1
}

func (t *tpe) record(id, level int, loss float64) {
	if last := t.at[id]; last >= 0 && !t.bohb {
		t.levels[last].ranked, _ = drop(t.levels[last].ranked, entry{t.seen[id].loss, id})
	}
	newest := &t.levels[0].recent
	if t.bohb {
		newest = &t.levels[level].recent
	}
	if t.at[id] < 0 || t.bohb {
		if *newest = append(*newest, id); len(*newest) > maxOthers {
			*newest = slices.Delete(*newest, 0, 1)
		}
	}
	t.at[id], t.seen[id].loss = level, loss
	t.levels[level].ranked = put(t.levels[level].ranked, entry{loss, id})
}

func (t *tpe) tell(n int, x []float64, level int, loss float64) {
	id, ok := t.ids[n]
	if !ok {
		id = t.observe(x)
		t.ids[n] = id
	}
	t.pending, _ = drop(t.pending, entry{0, id})
	t.record(id, level, loss)
}

func (t *tpe) propose(n int) ([]float64, string, bool) {
	x, why := t.draw(newRNG(t.seed, forPoint, uint64(n)))
	t.ids[n] = t.observe(x)
	t.pending = put(t.pending, entry{0, t.ids[n]})
	return x, why, true
}

// draw a point from the model, or at random while there is none.
func (t *tpe) draw(r *rng) ([]float64, string) {
	best, newest, n := t.known()
	if n < t.startup {
		return t.cube.uniform(r), fmt.Sprintf("a random point, until TPE knows %d trials", t.startup)
	}
	if len(best) == 0 {
		return t.cube.uniform(r), "a random point: no trial was any good"
	}
	good, others := t.densities(best, newest)
	x, score := []float64(nil), math.Inf(-1)
	for range candidates {
		y := good.draw(r)
		active := t.cube.active(y)
		if s := good.log(y, active) - others.log(y, active); x == nil || s > score {
			x, score = y, s
		}
	}
	return x, fmt.Sprintf("TPE: like the best %d of %d trials", len(best), n)
}

// known are the best trials, the newest, and the number of all that they are from.
func (t *tpe) known() (best, newest []int, n int) {
	top, bottom, newest := len(t.levels)-1, 0, t.levels[0].recent
	for _, l := range t.levels {
		n += len(l.ranked)
	}
	if t.bohb {
		for top > 0 && len(t.levels[top].ranked) < max(enough, t.startup) {
			top--
		}
		bottom, newest, n = top, t.levels[top].recent, len(t.levels[top].ranked)
	}
	good := min(int(math.Ceil(goodShare*float64(n))), mostGood)
	for level := top; level >= bottom; level-- {
		for _, e := range t.levels[level].ranked {
			if len(best) == good || worst(e.loss) {
				break
			}
			best = append(best, e.trial)
		}
	}
	return best, newest, n
}

// densities of the best points and of the others, with those that are pending.
func (t *tpe) densities(best, newest []int) (good, others *density) {
	isGood := map[int]bool{}
	var first, second []observation
	for _, id := range best {
		isGood[id] = true
		first = append(first, t.seen[id])
	}
	for _, id := range newest {
		if !isGood[id] {
			second = append(second, t.seen[id])
		}
	}
	for _, e := range t.pending {
		second = append(second, t.seen[e.trial])
	}
	return newDensity(t.cube, first), newDensity(t.cube, second)
}
