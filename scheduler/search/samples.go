package search

// forSample is a stream of randomness of its own.
const forSample uint64 = 1 << 32

// maxSampled is how many values of a domain Samples tries at most.
const maxSampled = 50

// Samples are points to check a space by: each end of each domain and each of its values, the others in the middle, and then some at
// random, which follow from the seed. The space must be valid.
func (s Space) Samples(random int, seed int64) []Point {
	c, wrong := s.compile()
	if len(wrong) > 0 {
		return nil
	}
	var points []Point
	for i := range c.params {
		for _, u := range c.params[i].ends() {
			x := make([]float64, len(c.params))
			for j := range x {
				x[j] = 0.5
			}
			c.enable(x, i)
			x[i] = u
			points = append(points, c.point(x))
		}
	}
	for n := range random {
		points = append(points, c.point(c.uniform(newRNG(uint64(seed), forSample, uint64(n)))))
	}
	return points
}

// ends are the coordinates of the ends of a domain, or of all its values when they are few.
func (p *param) ends() []float64 {
	if p.n == 0 || p.kind == whole && p.n > maxSampled {
		return []float64{0, 1}
	}
	var all []float64
	for i := range min(p.n, maxSampled) {
		all = append(all, p.middle(i))
	}
	return all
}

// enable brings x to where hyper-parameter i is there.
func (c *cube) enable(x []float64, i int) {
	for _, cond := range c.params[i].when {
		c.enable(x, cond.on)
		x[cond.on] = c.params[cond.on].middle(cond.indices[0])
	}
}
