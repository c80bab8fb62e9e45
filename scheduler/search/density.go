package search

import "math"

// density is a mixture of one kernel for each point and one that is uniform, all of equal weight. A kernel is a product over the hyper-parameters
// of a normal distribution cut off at the ends (numbers) or a distribution that prefers the point's value (choices).
type density struct {
	cube   *cube
	points []observation
	width  []float64   // deviation, by hyper-parameter; for choices the probability of each other value
	norm   [][]float64 // log of the normal distribution's scale, by point and hyper-parameter
	logs   []float64   // scratch, by kernel
}

func newDensity(c *cube, points []observation) *density {
	d := &density{cube: c, points: points, width: make([]float64, len(c.params)), norm: make([][]float64, len(points)), logs: make([]float64, len(points)+1)}
	kernels := float64(len(points) + 1)
	varied := 0
	for _, p := range c.params {
		if p.n != 1 {
			varied++
		}
	}
	scale := narrow * math.Pow(kernels, -1/float64(varied+4))
	for i, p := range c.params {
		if d.width[i] = max(scale*deviation(points, i), narrowest); p.kind == whole {
			d.width[i] = max(d.width[i], 0.5/float64(p.n))
		} else if p.kind == choice {
			d.width[i] = 1 / (kernels + float64(p.n))
		}
	}
	for k, o := range points {
		d.norm[k] = make([]float64, len(c.params))
		for i, p := range c.params {
			if p.kind != choice && o.active[i] {
				w := d.width[i]
				d.norm[k][i] = -math.Log(w * math.Sqrt(2*math.Pi) * (normalCDF((1-o.x[i])/w) - normalCDF(-o.x[i]/w)))
			}
		}
	}
	return d
}

// Kernels are as wide as Scott's rule (1992) says, by the deviation of the points, times narrow: so they shrink as good points gather.
const (
	narrow    = 0.8
	narrowest = 0.02
)

// deviation of a coordinate over the points that have it, and one in the middle that deviates as if it were uniform.
func deviation(points []observation, i int) float64 {
	n, sum, squares := 1.0, 0.5, 0.25+1.0/12
	for _, o := range points {
		if o.active[i] {
			n++
			sum += o.x[i]
			squares += o.x[i] * o.x[i]
		}
	}
	return math.Sqrt(max(squares/n-sum*sum/(n*n), 0))
}

// draw a point.
func (d *density) draw(r *rng) []float64 {
	x := d.cube.uniform(r)
	k := r.intn(len(d.points) + 1)
	if k == len(d.points) {
		return x
	}
	o := d.points[k]
	for i, p := range d.cube.params {
		switch {
		case !o.active[i]:
		case p.kind == choice:
			if r.float() >= d.width[i]*float64(p.n) { // else: uniform
				x[i] = o.x[i]
			}
		default:
			x[i] = r.normalIn(o.x[i], d.width[i])
		}
	}
	for i, p := range d.cube.params {
		if p.n > 0 {
			x[i] = p.middle(p.cell(x[i]))
		}
	}
	return x
}

// log of the density at x, over the hyper-parameters that are there.
func (d *density) log(x []float64, active []bool) float64 {
	top := 0.0 // the uniform kernel's log
	for k, o := range d.points {
		sum := 0.0
		for i := range d.cube.params {
			if !active[i] || !o.active[i] {
				continue
			}
			if p := &d.cube.params[i]; p.kind == choice {
				q := d.width[i]
				if x[i] == o.x[i] {
					q = 1 - q*float64(p.n-1)
				}
				sum += math.Log(q * float64(p.n))
				continue
			}
			z := (x[i] - o.x[i]) / d.width[i]
			sum += d.norm[k][i] - z*z/2
		}
		d.logs[k] = sum
		top = max(top, sum)
	}
	d.logs[len(d.points)] = 0
	total := 0.0
	for _, l := range d.logs {
		total += math.Exp(l - top)
	}
	return top + math.Log(total/float64(len(d.logs)))
}
