package search

import "fmt"

// grid goes through all points of the grid, the last hyper-parameter first. What does not exist for a point is not varied.
type grid struct {
	cube  *cube
	index []int // of each hyper-parameter; nil before the first
	made  int
	done  bool
}

func (g *grid) propose(int) ([]float64, string, bool) {
	if !g.done {
		g.done = !g.advance()
	}
	if g.done {
		return nil, "the grid has no more points", false
	}
	g.made++
	return g.x(), fmt.Sprintf("point %d of the grid", g.made), true
}

func (g *grid) x() []float64 {
	x := make([]float64, len(g.index))
	for i, at := range g.index {
		x[i] = g.cube.params[i].gridAt(at)
	}
	return x
}

// advance goes to the next point: the last that is there and has more values takes its next, and all behind it their first.
func (g *grid) advance() bool {
	if g.index == nil {
		g.index = make([]int, len(g.cube.params))
		return true
	}
	active := g.cube.active(g.x())
	for i := len(g.index) - 1; i >= 0; i-- {
		if active[i] && g.index[i]+1 < g.cube.params[i].gridPoints() {
			g.index[i]++
			return true
		}
		g.index[i] = 0
	}
	return false
}

func (*grid) tell(int, []float64, int, float64) {}
