package search_test

import (
	"testing"

	"tandem.dev/scheduler/search"
	"tandem.dev/scheduler/search/searchtest"
)

// TestOptima: each method that learns, or stops what is hopeless, comes closer to the published optimum than the bound, in the median of 9 seeds; random search
// with as much training does not. Sobol, grid and pbt have bounds that random search reaches, too: see bench for how all of them compare.
func TestOptima(t *testing.T) {
	methods := map[string]search.Method{
		"random":      {Name: search.Random},
		"grid":        {Name: search.Grid},
		"sobol":       {Name: search.Sobol},
		"tpe":         {Name: search.TPE},
		"cmaes":       {Name: search.CMAES},
		"asha":        {Name: search.ASHA},
		"asha/stop":   {Name: search.ASHA, Variant: search.VariantStop},
		"asha/tpe":    {Name: search.ASHA, Sampler: search.TPE},
		"asha/cmaes":  {Name: search.ASHA, Sampler: search.CMAES},
		"tpe/asha":    {Name: search.TPE, Stop: search.ASHA},
		"tpe/median":  {Name: search.TPE, Stop: search.StopMedian},
		"hyperband":   {Name: search.Hyperband},
		"bohb":        {Name: search.BOHB},
		"pbt":         {Name: search.PBT},
		"random/asha": {Name: search.Random, Stop: search.ASHA},
	}
	for _, tt := range []struct {
		problem  searchtest.Problem
		budget   float64
		bounds   map[string]float64
		anything map[string]float64 // random search reaches these
	}{
		{searchtest.Branin(), 100, map[string]float64{"tpe": 0.08, "cmaes": 0.08, "asha": 0.08, "asha/stop": 0.08, "random/asha": 0.08, "asha/tpe": 0.02, "asha/cmaes": 0.02, "tpe/asha": 0.02, "tpe/median": 0.03, "bohb": 0.08, "hyperband": 0.17, "pbt": 0.17},
			map[string]float64{"sobol": 0.7, "random": 0.3}},
		{searchtest.Hartmann6(), 100, map[string]float64{"tpe": 0.35, "cmaes": 0.6, "asha": 0.65, "asha/tpe": 0.3, "asha/cmaes": 0.3, "tpe/asha": 0.3, "tpe/median": 0.35, "bohb": 0.35, "hyperband": 0.69, "pbt": 0.65},
			map[string]float64{"sobol": 1.6, "random": 1.6}},
		{searchtest.Ackley5(), 100, map[string]float64{"tpe": 9, "cmaes": 11, "asha": 15, "asha/tpe": 7, "asha/cmaes": 7, "tpe/asha": 8, "tpe/median": 7, "bohb": 9, "hyperband": 15.5, "pbt": 14},
			map[string]float64{"sobol": 18, "random": 18}},
		{searchtest.Digits(), 30, map[string]float64{"asha": 0.006, "asha/stop": 0.006, "asha/tpe": 0.004, "tpe/asha": 0.006, "hyperband": 0.006, "bohb": 0.004, "tpe/median": 0.004, "tpe": 0.01},
			map[string]float64{"sobol": 0.02, "grid": 0.02, "cmaes": 0.02, "pbt": 0.02, "random": 0.02}},
	} {
		t.Run(tt.problem.Name, func(t *testing.T) {
			median := func(name string) float64 {
				m, err := searchtest.Median(tt.problem, methods[name], tt.budget, 4, 9)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			floor := median("random")
			for name, bound := range tt.bounds {
				if got := median(name); !(got <= bound) {
					t.Errorf("%s comes within %.4g of the optimum, and is to come within %v", name, got, bound)
				}
				if floor <= bound {
					t.Errorf("random search comes within %.4g: the bound of %s, %v, says nothing", floor, name, bound)
				}
			}
			for name, bound := range tt.anything {
				if got := median(name); !(got <= bound) {
					t.Errorf("%s comes within %.4g of the optimum, and is to come within %v", name, got, bound)
				}
			}
		})
	}
}

// TestSobolLeads: an even spread comes nearer than chance, by so little that 50 seeds do not show it and 500 do.
func TestSobolLeads(t *testing.T) {
	for _, p := range searchtest.All() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			budget := 100.0
			if p.Table {
				budget = 30
			}
			median := func(name string) float64 {
				m, err := searchtest.Median(p, search.Method{Name: name}, budget, 1, 500)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			if even, chance := median(search.Sobol), median(search.Random); !(even < chance) {
				t.Errorf("Sobol comes within %.4g of the optimum, random search within %.4g", even, chance)
			}
		})
	}
}

// TestFunctions: the functions have their published optima where they are published to be.
func TestFunctions(t *testing.T) {
	point := func(x ...float64) search.Point {
		p := search.Point{}
		for i, name := range []string{"x1", "x2", "x3", "x4", "x5", "x6"}[:len(x)] {
			p[name] = x[i]
		}
		return p
	}
	for _, tt := range []struct {
		problem searchtest.Problem
		at      search.Point
	}{
		{searchtest.Branin(), point(-3.141593, 12.275)},
		{searchtest.Branin(), point(3.141593, 2.275)},
		{searchtest.Branin(), point(9.424778, 2.475)},
		{searchtest.Hartmann6(), point(0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)},
		{searchtest.Ackley5(), point(0, 0, 0, 0, 0)},
	} {
		if got := tt.problem.Value(tt.at, 1); got < tt.problem.Optimum-1e-5 || got > tt.problem.Optimum+1e-4 {
			t.Errorf("%s of %v is %v, published is %v", tt.problem.Name, tt.at, got, tt.problem.Optimum)
		}
	}
}
