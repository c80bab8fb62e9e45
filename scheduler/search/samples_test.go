package search

import (
	"testing"
)

func TestSamples(t *testing.T) {
	s := Space{
		"name":     {Choice: []any{"sgd", "adamw"}},
		"lr":       {Log: []float64{1, 100}},
		"momentum": {Double: []float64{0, 0.9}, When: map[string][]any{"name": {"sgd"}}},
		"nesterov": {Choice: []any{true}, When: map[string][]any{"name": {"sgd"}}},
		"layers":   {Int: []int64{1, 3}},
	}
	seen := map[string]map[any]bool{}
	points := s.Samples(7, 3)
	for _, p := range points {
		if _, there := p["momentum"]; there != (p["name"] == "sgd") {
			t.Errorf("point %v does not keep its conditions", p)
		}
		for name, v := range p {
			if seen[name] == nil {
				seen[name] = map[any]bool{}
			}
			seen[name][v] = true
		}
	}
	for name, values := range map[string][]any{
		"name": {"sgd", "adamw"}, "lr": {1.0, 100.0}, "momentum": {0.0, 0.9}, "nesterov": {true}, "layers": {1.0, 2.0, 3.0},
	} {
		for _, v := range values {
			if !seen[name][v] {
				t.Errorf("no point has %s %v", name, v)
			}
		}
	}
	if n := len(points); n != 2+2+2+1+3+7 {
		t.Errorf("%d points", n)
	}
	if again := s.Samples(7, 3); again[len(again)-1]["lr"] != points[len(points)-1]["lr"] {
		t.Error("the same seed gives other points")
	}
}
