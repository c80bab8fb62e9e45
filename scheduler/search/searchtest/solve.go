package searchtest

import (
	"math"
	"slices"

	"tandem.dev/scheduler/search"
)

// Solve lets a method search until so many whole trainings are used up, and returns how far from the optimum the best is that it found: of the trials
// that trained to the end, or for a table of curves of all that was measured. Methods with rungs get 4, each 3 times the one below, so that the
// first is measured; pbt gets a population that uses up the budget.
func Solve(p Problem, m search.Method, budget float64, concurrent int, seed int64) (float64, error) {
	r, points, err := simulate(p, m, budget, concurrent, seed)
	if err != nil {
		return 0, err
	}
	if p.Table {
		return r.Best.Value - p.Optimum, nil
	}
	best := math.Inf(1)
	for i, x := range points {
		if !slices.Contains(r.Stopped, i+1) {
			best = min(best, p.Value(x, 1))
		}
	}
	return best - p.Optimum, nil
}

func simulate(p Problem, m search.Method, budget float64, concurrent int, seed int64) (search.Result, []search.Point, error) {
	switch {
	case m.Name == search.ASHA || m.Name == search.Hyperband || m.Name == search.BOHB || m.Stop == search.ASHA:
		m.Divisor, m.Rungs = 3, 4
	case m.Name == search.PBT:
		m.Population, m.Intervals = int(budget), 9
	}
	cfg := search.Config{Space: p.Space, Method: m, Seed: seed, MaxTrials: 100_000, MaxConcurrent: concurrent, MaxFailed: 100_000}
	if m.Name == search.Grid {
		cfg.MaxTrials = 0
	}
	var points []search.Point
	r, err := search.Simulate(cfg, budget, func(c search.Create) []search.Sample {
		points = append(points, c.Point)
		curve := make([]search.Sample, p.Evaluations)
		for i := range curve {
			share := float64(i+1) / float64(p.Evaluations)
			curve[i] = search.Sample{Share: share, Value: p.Value(c.Point, share)}
		}
		return curve
	})
	return r, points, err
}

// Median of Solve over the seeds 1 to n.
func Median(p Problem, m search.Method, budget float64, concurrent, n int) (float64, error) {
	return median(n, func(seed int64) (float64, error) { return Solve(p, m, budget, concurrent, seed) })
}

// Needed is the median, over the seeds 1 to n, of the whole trainings that a method needs until a value within that distance from the optimum was
// measured; a search that does not get there in 200 counts as 200.
func Needed(p Problem, m search.Method, within float64, concurrent, n int) (float64, error) {
	const most = 200
	return median(n, func(seed int64) (float64, error) {
		r, _, err := simulate(p, m, most, concurrent, seed)
		for _, i := range r.Course {
			if i.Value <= p.Optimum+within {
				return i.Trained, err
			}
		}
		return most, err
	})
}

func median(n int, one func(seed int64) (float64, error)) (float64, error) {
	found := make([]float64, n)
	for i := range found {
		var err error
		if found[i], err = one(int64(i + 1)); err != nil {
			return 0, err
		}
	}
	slices.Sort(found)
	return (found[(n-1)/2] + found[n/2]) / 2, nil
}
