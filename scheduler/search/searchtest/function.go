package searchtest

import (
	"fmt"
	"math"

	"tandem.dev/scheduler/search"
)

// Problem is something to minimize.
type Problem struct {
	Name  string
	Space search.Space
	// Optimum is the smallest value at share 1, of a table at any.
	Optimum float64
	// Value of a point when that share of the training is done.
	Value func(p search.Point, share float64) float64
	// Evaluations is how often a training is measured.
	Evaluations int
	// Table: values are recorded, not functions of the share.
	Table bool
}

// All problems.
func All() []Problem { return []Problem{Branin(), Hartmann6(), Ackley5(), Digits()} }

// at is the coordinates x1, x2 ... of a point.
func at(p search.Point, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = p[fmt.Sprintf("x%d", i+1)].(float64)
	}
	return x
}

// Branin (Dixon and Szego 1978); before the end of the training its b is smaller, as in Kandasamy et al. 2017, "Multi-fidelity Bayesian
// Optimisation with Continuous Approximations".
func Branin() Problem {
	return Problem{
		Name:    "branin",
		Space:   search.Space{"x1": {Double: []float64{-5, 10}}, "x2": {Double: []float64{0, 15}}},
		Optimum: 0.397887, Evaluations: 27,
		Value: func(p search.Point, share float64) float64 {
			x := at(p, 2)
			b := 5.1/(4*math.Pi*math.Pi) - 0.01*(1-share)
			return math.Pow(x[1]-b*x[0]*x[0]+5/math.Pi*x[0]-6, 2) + 10*(1-1/(8*math.Pi))*math.Cos(x[0]) + 10
		},
	}
}

// Hartmann6 (Dixon and Szego 1978); before the end of the training its alphas are smaller, as in Kandasamy et al. 2017.
func Hartmann6() Problem {
	alpha := [4]float64{1, 1.2, 3, 3.2}
	a := [4][6]float64{{10, 3, 17, 3.5, 1.7, 8}, {0.05, 10, 17, 0.1, 8, 14}, {3, 3.5, 1.7, 10, 17, 8}, {17, 8, 0.05, 10, 0.1, 14}}
	center := [4][6]float64{
		{0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886}, {0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991},
		{0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650}, {0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381},
	}
	space := search.Space{}
	for i := range 6 {
		space[fmt.Sprintf("x%d", i+1)] = search.Domain{Double: []float64{0, 1}}
	}
	return Problem{
		Name: "hartmann6", Space: space, Optimum: -3.32237, Evaluations: 27,
		Value: func(p search.Point, share float64) float64 {
			x, sum := at(p, 6), 0.0
			for i := range alpha {
				inner := 0.0
				for j := range x {
					inner += a[i][j] * math.Pow(x[j]-center[i][j], 2)
				}
				sum -= (alpha[i] - 0.1*(1-share)) * math.Exp(-inner)
			}
			return sum
		},
	}
}

// Ackley5 is Ackley's function (1987) of five coordinates, whose optimum lies off the middle of the space; before the end of the training it lies 1 beside.
func Ackley5() Problem {
	space := search.Space{}
	for i := range 5 {
		space[fmt.Sprintf("x%d", i+1)] = search.Domain{Double: []float64{-20, 40}}
	}
	return Problem{
		Name: "ackley5", Space: space, Optimum: 0, Evaluations: 27,
		Value: func(p search.Point, share float64) float64 {
			x := at(p, 5)
			squares, waves := 0.0, 0.0
			for _, v := range x {
				v += 1 - share
				squares += v * v / 5
				waves += math.Cos(2*math.Pi*v) / 5
			}
			return -20*math.Exp(-0.2*math.Sqrt(squares)) - math.Exp(waves) + 20 + math.E
		},
	}
}
