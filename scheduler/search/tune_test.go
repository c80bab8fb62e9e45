package search_test

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	. "tandem.dev/scheduler/search"
	"tandem.dev/scheduler/search/searchtest"
)

func runOne(p searchtest.Problem, m Method, conc int, budget float64, seed int64) float64 {
	r, err := Simulate(Config{Space: p.Space, Method: m, Seed: seed, MaxTrials: 100000, MaxConcurrent: conc}, budget, func(c Create) []Sample {
		var s []Sample
		if m.Name == ASHA || m.Name == Hyperband || m.Name == BOHB || m.Name == PBT || m.Stop != "" {
			for i := 1; i <= p.Evaluations*3; i++ {
				share := float64(i) / float64(p.Evaluations*3)
				s = append(s, Sample{share, p.Value(c.Point, share)})
			}
		} else {
			s = []Sample{{1, p.Value(c.Point, 1)}}
		}
		return s
	})
	if err != nil {
		panic(err)
	}
	return r.Best.Value - p.Optimum
}

func TestTune(t *testing.T) {
	if os.Getenv("TUNE") == "" {
		return
	}
	ms := []Method{{Name: Random}, {Name: Sobol}, {Name: TPE}, {Name: CMAES}, {Name: ASHA}, {Name: Hyperband}, {Name: BOHB}, {Name: PBT}, {Name: ASHA, Sampler: TPE}, {Name: ASHA, Sampler: CMAES}, {Name: ASHA, Variant: "stop"}, {Name: TPE, Stop: "median"}}
	for _, conc := range []int{1, 4} {
		for _, p := range searchtest.All() {
			for _, m := range ms {
				var v []float64
				for seed := range int64(30) {
					v = append(v, runOne(p, m, conc, 100, seed))
				}
				slices.Sort(v)
				fmt.Printf("%d %-10s %-30s %8.4f  %8.4f %8.4f\n", conc, p.Name, fmt.Sprint(m.Name, m.Sampler, m.Variant, m.Stop), v[15], v[3], v[27])
			}
		}
	}
	_ = math.Inf
}
