package search

import (
	"testing"
)

func square(_ int, p Point, share float64) float64 {
	x := p["x"].(float64)
	return (x-0.3)*(x-0.3) + 0.1*(1-share)
}

func TestEveryMethodFinishes(t *testing.T) {
	for _, m := range methods {
		t.Run(m, func(t *testing.T) {
			cfg := Config{
				Space:     Space{"x": {Double: []float64{-1, 1}, Count: 12}, "n": {Int: []int64{1, 2}}},
				Method:    Method{Name: m},
				MaxTrials: 24, MaxConcurrent: 3, Seed: 1,
			}
			w := newWorld(t, cfg, square).run(t)
			if len(w.trials) != 24 && m != PBT {
				t.Errorf("%d trials were made", len(w.trials))
			}
			if w.most > 3 {
				t.Errorf("%d trained at the same time", w.most)
			}
			if w.best > 0.1 {
				t.Errorf("best is %v", w.best)
			}
			t.Logf("best %.4f, cost %.1f, %s", w.best, w.cost, w.finish)
		})
	}
}
