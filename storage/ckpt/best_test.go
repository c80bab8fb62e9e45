package ckpt

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBest: which of a training's evaluations is best.
func TestBest(t *testing.T) {
	accuracy := Order{Metric: "accuracy", Maximize: true, TieBreaker: "loss"}
	of := func(accuracy, loss float64) map[string]float64 {
		return map[string]float64{"accuracy": accuracy, "loss": loss}
	}
	for name, tc := range map[string]struct {
		order Order
		all   []map[string]float64 // of steps 1, 2, 3 ...
		want  *Best
	}{
		"nothing":                          {accuracy, nil, nil},
		"the most accurate":                {accuracy, []map[string]float64{of(0.5, 1), of(0.9, 2), of(0.7, 0.1)}, &Best{"accuracy", 0.9, 2, "loss", 2}},
		"of equals that of the least loss": {accuracy, []map[string]float64{of(1, 0.3), of(1, 0.2), of(1, 0.25)}, &Best{"accuracy", 1, 2, "loss", 0.2}},
		"all is equal: the first":          {accuracy, []map[string]float64{of(1, 0.3), of(1, 0.3)}, &Best{"accuracy", 1, 1, "loss", 0.3}},
		"no tie-breaker: the first":        {Order{Metric: "accuracy", Maximize: true, TieBreaker: NoTieBreaker}, []map[string]float64{of(1, 0.3), of(1, 0.2)}, &Best{Metric: "accuracy", Value: 1, Step: 1}},
		"of an old spec: the first":        {Order{Metric: "accuracy", Maximize: true}, []map[string]float64{of(1, 0.3), of(1, 0.2)}, &Best{Metric: "accuracy", Value: 1, Step: 1}},
		"the least loss":                   {Order{Metric: "loss"}, []map[string]float64{of(0, 0.3), of(0, 0.2), of(1, 0.4)}, &Best{Metric: "loss", Value: 0.2, Step: 2}},
		"a loss that is not a number":      {accuracy, []map[string]float64{of(1, math.NaN()), of(1, 0.2)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var best *Best
			for i, metrics := range tc.all {
				if best.Beaten(tc.order, metrics) {
					best = tc.order.Best(int64(i+1), metrics)
				}
			}
			if name == "a loss that is not a number" { // it compares with nothing: the first stays
				if best.Step != 1 || !math.IsNaN(best.TieValue) {
					t.Errorf("%+v", best)
				}
				return
			}
			if diff := cmp.Diff(tc.want, best); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOrderNeedsTheMetric: what was not measured compares with nothing.
func TestOrderNeedsTheMetric(t *testing.T) {
	o := Order{Metric: "accuracy", Maximize: true, TieBreaker: "loss"}
	for _, tc := range [][2]map[string]float64{
		{{"loss": 1}, {"accuracy": 1}}, {{"accuracy": 1}, {"loss": 1}}, {{"accuracy": math.NaN()}, {"accuracy": 1}}, {nil, nil},
	} {
		if order, ok := o.Compare(tc[0], tc[1]); ok || order != 0 {
			t.Errorf("%v against %v: %d", tc[0], tc[1], order)
		}
	}
	if o.Best(3, map[string]float64{"loss": 1}) != nil {
		t.Error("an evaluation without the metric is the best")
	}
}
