package ckpt

import (
	"cmp"
	"math"
)

// NoTieBreaker is the tie-breaker by which the earlier of equal values is best.
const NoTieBreaker = "none"

// Order says which of two evaluated states of a model is better.
type Order struct {
	Metric     string
	Maximize   bool   // a higher metric is better
	TieBreaker string // a loss that decides where metrics are equal, the lower one; NoTieBreaker or empty: neither is better
}

// Compare is negative when what was measured of a is better, 0 when neither is. False: one of them does not have the metric, or it is
// not a number.
func (o Order) Compare(a, b map[string]float64) (order int, ok bool) {
	x, y, ok := both(a, b, o.Metric)
	switch {
	case !ok:
		return 0, false
	case x != y && o.Maximize:
		return cmp.Compare(y, x), true
	case x != y:
		return cmp.Compare(x, y), true
	}
	if x, y, ok = both(a, b, o.TieBreaker); !ok {
		return 0, true
	}
	return cmp.Compare(x, y), true
}

func both(a, b map[string]float64, metric string) (x, y float64, ok bool) {
	x, inA := a[metric]
	y, inB := b[metric]
	return x, y, inA && inB && !math.IsNaN(x) && !math.IsNaN(y)
}

// Best is the best evaluation so far.
type Best struct {
	Metric     string  `json:"metric"`
	Value      float64 `json:"value"`
	Step       int64   `json:"step"`
	TieBreaker string  `json:"tie_breaker,omitempty"`
	TieValue   float64 `json:"tie_value,omitempty"`
}

// Best is an evaluation as the best one; nil when it does not have the metric.
func (o Order) Best(step int64, metrics map[string]float64) *Best {
	value, ok := metrics[o.Metric]
	if !ok {
		return nil
	}
	b := &Best{Metric: o.Metric, Value: value, Step: step}
	if tie, ok := metrics[o.TieBreaker]; ok {
		b.TieBreaker, b.TieValue = o.TieBreaker, tie
	}
	return b
}

// Beaten says whether an evaluation is better than the best one so far, which may be nil.
func (b *Best) Beaten(o Order, metrics map[string]float64) bool {
	if b == nil {
		return true
	}
	was := map[string]float64{b.Metric: b.Value}
	if b.TieBreaker != "" {
		was[b.TieBreaker] = b.TieValue
	}
	order, ok := o.Compare(metrics, was)
	return ok && order < 0
}
