package search

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// kind of a domain. A const is a choice of one.
type kind int

const (
	whole kind = iota + 1
	linear
	logarithmic
	choice
)

// param is a hyper-parameter, ready for use.
type param struct {
	name     string
	kind     kind
	min, max float64        // whole, linear, logarithmic
	step     float64        // whole
	values   []any          // choice
	at       map[string]int // the place of each of values, by keyOf
	n        int            // number of values; 0: without number
	count    int            // points of a grid; 0: all n
	when     []condition
	parent   bool // others have conditions on it
}

// condition holds when the hyper-parameter at place on is there and has one of the values at these indices.
type condition struct {
	on      int
	indices []int
}

// cube is a space as the samplers see it: every hyper-parameter, whether it is there or not, is a coordinate in [0, 1]. Those with n
// values have n cells of equal width. The order is such that conditions only name what came before.
type cube struct{ params []param }

func newCube(order []string, params map[string]*param, s Space) *cube {
	c := &cube{}
	place := map[string]int{}
	for _, name := range order {
		p := params[name]
		for _, on := range sortedKeys(s[name].When) {
			cond := condition{on: place[on]}
			c.params[cond.on].parent = true
			for _, v := range s[name].When[on] {
				cond.indices = append(cond.indices, params[on].index(v))
			}
			p.when = append(p.when, cond)
		}
		place[name] = len(c.params)
		c.params = append(c.params, *p)
	}
	return c
}

// value at coordinate u.
func (p *param) value(u float64) any {
	switch p.kind {
	case whole:
		return p.min + p.step*float64(p.cell(u))
	case linear:
		return min(p.min+u*(p.max-p.min), p.max)
	case logarithmic:
		low, high := math.Log(p.min), math.Log(p.max)
		return min(max(math.Exp(low+u*(high-low)), p.min), p.max)
	default:
		return p.values[p.cell(u)]
	}
}

// cell is the index of the value at u, for those with n values.
func (p *param) cell(u float64) int { return min(int(u*float64(p.n)), p.n-1) }

// middle of a cell.
func (p *param) middle(i int) float64 { return (float64(i) + 0.5) / float64(p.n) }

// index of a value, for those with n values; -1 when it is none of them.
func (p *param) index(v any) int {
	if p.kind == choice {
		if i, ok := p.at[keyOf(v)]; ok {
			return i
		}
		return -1
	}
	x, ok := v.(float64)
	i := math.Round((x - p.min) / p.step)
	if !ok || i < 0 || i >= float64(p.n) || p.min+p.step*i != x {
		return -1
	}
	return int(i)
}

// coordinate of a value; false when it is not in the domain.
func (p *param) coordinate(v any) (float64, bool) {
	if p.n > 0 {
		i := p.index(v)
		return p.middle(max(i, 0)), i >= 0
	}
	x, ok := v.(float64)
	if !ok || !(x >= p.min && x <= p.max) {
		return 0, false
	}
	if p.kind == logarithmic {
		return math.Log(x/p.min) / math.Log(p.max/p.min), true
	}
	return (x - p.min) / (p.max - p.min), true
}

// active says which hyper-parameters are there at x.
func (c *cube) active(x []float64) []bool {
	active := make([]bool, len(c.params))
	for i := range c.params {
		active[i] = c.holds(i, active, x)
	}
	return active
}

// holds says whether the conditions of i hold, where active is known of all before it.
func (c *cube) holds(i int, active []bool, x []float64) bool {
	for _, cond := range c.params[i].when {
		if !active[cond.on] || !slices.Contains(cond.indices, c.params[cond.on].cell(x[cond.on])) {
			return false
		}
	}
	return true
}

// point at x.
func (c *cube) point(x []float64) Point {
	p := Point{}
	for i, there := range c.active(x) {
		if there {
			p[c.params[i].name] = c.params[i].value(x[i])
		}
	}
	return p
}

// at finds the coordinates of a point; those that do not exist are in the middle.
func (c *cube) at(p Point) ([]float64, error) {
	x := make([]float64, len(c.params))
	active := make([]bool, len(c.params))
	known := 0
	for i := range c.params {
		x[i] = 0.5
		active[i] = c.holds(i, active, x)
		v, ok := p[c.params[i].name]
		if ok {
			known++
		}
		if ok != active[i] {
			return nil, fmt.Errorf("the point %s: %s is there: %t, but by its conditions: %t", pointText(p), c.params[i].name, ok, active[i])
		}
		if ok {
			if x[i], ok = c.params[i].coordinate(v); !ok {
				return nil, fmt.Errorf("the point %s: %v is not in the domain of %s", pointText(p), v, c.params[i].name)
			}
		}
	}
	if known != len(p) {
		return nil, fmt.Errorf("the point %s has hyper-parameters that are not in the space", pointText(p))
	}
	return x, nil
}

// pointText is a point for people: "lr 0.001, layers 2", by name.
func pointText(p map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, fmt.Sprintf("%s %v", name, p[name]))
	}
	return strings.Join(parts, ", ")
}

// uniform is a point of the cube.
func (c *cube) uniform(r *rng) []float64 {
	x := make([]float64, len(c.params))
	for i := range x {
		x[i] = r.float()
	}
	return x
}

// Size is the number of different points, math.MaxInt when there are more; 0: without number. It must be valid.
func (s Space) Size() int {
	c, wrong := s.compile()
	if len(wrong) > 0 {
		return 0
	}
	return c.size(func(p *param) int { return p.n })
}

// GridSize is the number of points of the grid; 0 when a double or log lacks its count. It must be valid.
func (s Space) GridSize() int {
	c, wrong := s.compile()
	if len(wrong) > 0 {
		return 0
	}
	return c.size((*param).gridPoints)
}

// gridPoints is the number of points a grid takes.
func (p *param) gridPoints() int {
	if p.count > 0 {
		return p.count
	}
	return p.n
}

// gridAt is the coordinate of point i of a grid.
func (p *param) gridAt(i int) float64 {
	n := p.gridPoints()
	share := 0.5
	if n > 1 {
		share = float64(i) / float64(n-1)
	}
	if p.n > 0 {
		return p.middle(int(math.Round(share * float64(p.n-1))))
	}
	return share
}

// size counts points: the parts of the space that no condition connects are independent of each other, so their sizes are multiplied. Within a
// part, what others depend on is gone through, value by value that a condition names and all others as one; the rest are factors.
func (c *cube) size(points func(*param) int) int {
	total := 1
	for _, part := range c.parts() {
		n := counter{cube: c, points: points, active: make([]bool, len(c.params)), x: make([]float64, len(c.params))}
		size := n.count(part)
		if size == 0 {
			return 0
		}
		total = times(total, size)
	}
	return total
}

// counter counts the points of a part.
type counter struct {
	*cube
	points func(*param) int
	active []bool
	x      []float64
	visits int
}

// maxVisits bounds the work: beyond it there are more points than anybody will try.
const maxVisits = 1_000_000

// count is 0 where the points are without number.
func (c *counter) count(part []int) int {
	if len(part) == 0 {
		return 1
	}
	if c.visits++; c.visits > maxVisits {
		return math.MaxInt
	}
	i := part[0]
	p := &c.params[i]
	if c.active[i] = c.holds(i, c.active, c.x); !c.active[i] {
		return c.count(part[1:])
	}
	n := c.points(p)
	if !p.parent || n == 0 {
		return times(n, c.count(part[1:]))
	}
	named := c.named(i)
	total, other, endless := 0, n, false
	for _, cell := range named {
		if n != p.n && !p.onGrid(cell) {
			continue
		}
		other--
		c.x[i] = p.middle(cell)
		rest := c.count(part[1:])
		total, endless = plus(total, rest), endless || rest == 0
	}
	if other > 0 {
		cell := 0
		for slices.Contains(named, cell) {
			cell++
		}
		c.x[i] = p.middle(cell)
		rest := c.count(part[1:])
		total, endless = plus(total, times(other, rest)), endless || rest == 0
	}
	if endless {
		return 0
	}
	return total
}

// named are the cells of i that a condition names.
func (c *cube) named(i int) []int {
	var cells []int
	for _, p := range c.params {
		for _, cond := range p.when {
			if cond.on == i {
				cells = append(cells, cond.indices...)
			}
		}
	}
	slices.Sort(cells)
	return slices.Compact(cells)
}

// parts are the places of hyper-parameters that conditions connect, each in order.
func (c *cube) parts() [][]int {
	root := make([]int, len(c.params))
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	for i := range c.params {
		root[i] = i
		for _, cond := range c.params[i].when {
			root[find(cond.on)] = find(i)
		}
	}
	byRoot := map[int]int{}
	var parts [][]int
	for i := range c.params {
		r := find(i)
		at, ok := byRoot[r]
		if !ok {
			at = len(parts)
			byRoot[r] = at
			parts = append(parts, nil)
		}
		parts[at] = append(parts[at], i)
	}
	return parts
}

// onGrid says whether a grid of fewer points than cells has one there.
func (p *param) onGrid(cell int) bool {
	for i := range p.gridPoints() {
		if p.cell(p.gridAt(i)) == cell {
			return true
		}
	}
	return false
}

// plus adds sizes; math.MaxInt stands for more.
func plus(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// times multiplies sizes; math.MaxInt stands for more.
func times(a, b int) int {
	if a != 0 && b > math.MaxInt/a {
		return math.MaxInt
	}
	return a * b
}
