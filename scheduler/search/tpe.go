package search

import (
	"fmt"
	"math"
	"slices"
)

// tpe is the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl 2011): it fits one density to the best points and one to the
// others, draws from the first, and takes what is likeliest under the first against the second. Densities are over all hyper-parameters at
// once (Falkner, Klein and Hutter 2018, "BOHB"), each kernel a product; where a kernel's point lacks a hyper-parameter, it has no opinion on it.
//
// With milestones it fits the losses of the highest one that enough trials have got to, as BOHB does. Points that are pending count among the
// others (a constant liar), so that parallel trials keep apart.
type tpe struct {
	cube    *cube
	seed    uint64
	startup int
	seen    []observation
	levels  []history
	pending []entry // trials that are proposed and not told; loss is not used
	points  map[int]int
}

// observation is a point; whole numbers are in the middle of their cell.
type observation struct {
	x      []float64
	active []bool
}

// history is what is known at a level. Entries name observations.
type history struct {
	ranked []entry
	recent []int // the newest others, at most maxOthers of them
}

const (
	candidates = 24  // points drawn to choose from
	mostGood   = 25  // points that the first density is fitted to
	maxOthers  = 200 // points that the second is fitted to: the newest
	goodShare  = 0.1
)

func newTPE(c *cube, seed uint64, startup, levels int, known []prior) *tpe {
	t := &tpe{cube: c, seed: seed, startup: startup, levels: make([]history, levels), points: map[int]int{}}
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
	t.seen = append(t.seen, observation{x, t.cube.active(x)})
	return len(t.seen) - 1
}

func (t *tpe) record(id, level int, loss float64) {
	h := &t.levels[level]
	h.ranked = put(h.ranked, entry{loss, id})
	h.recent = append(h.recent, id)
	if len(h.recent) > maxOthers+mostGood {
		h.recent = slices.Delete(h.recent, 0, 1)
	}
}

func (t *tpe) tell(n int, x []float64, level int, loss float64) {
	id, ok := t.points[n]
	if !ok {
		id = t.observe(x)
		t.points[n] = id
	}
	t.pending, _ = drop(t.pending, entry{0, id})
	t.record(id, level, loss)
}

func (t *tpe) propose(n int) ([]float64, string, bool) {
	r := newRNG(t.seed, forPoint, uint64(n))
	x, why := t.draw(r)
	id := t.observe(x)
	t.points[n] = id
	t.pending = put(t.pending, entry{0, id})
	return x, why, true
}

// draw a point from the model, or at random while there is none.
func (t *tpe) draw(r *rng) ([]float64, string) {
	level := len(t.levels) - 1
	for level > 0 && len(t.levels[level].ranked) < t.startup {
		level--
	}
	h := t.levels[level]
	n := len(h.ranked)
	if n < t.startup {
		return t.cube.uniform(r), fmt.Sprintf("a random point, until TPE knows %d trials", t.startup)
	}
	good := min(int(math.Ceil(goodShare*float64(n))), mostGood)
	for good > 0 && worst(h.ranked[good-1].loss) {
		good--
	}
	if good == 0 {
		return t.cube.uniform(r), "a random point: no trial was any good"
	}
	better, others := t.densities(h, good)
	best, score := []float64(nil), math.Inf(-1)
	for range candidates {
		x := better.draw(r)
		active := t.cube.active(x)
		if s := better.log(x, active) - others.log(x, active); best == nil || s > score {
			best, score = x, s
		}
	}
	return best, fmt.Sprintf("TPE: like the best %d of %d trials", good, n)
}

// densities of the best points and of the others.
func (t *tpe) densities(h history, good int) (better, others *density) {
	isGood := map[int]bool{}
	var first, second []observation
	for _, e := range h.ranked[:good] {
		isGood[e.trial] = true
		first = append(first, t.seen[e.trial])
	}
	for _, id := range h.recent {
		if !isGood[id] {
			second = append(second, t.seen[id])
		}
	}
	for _, e := range t.pending {
		second = append(second, t.seen[e.trial])
	}
	return newDensity(t.cube, first), newDensity(t.cube, second)
}
