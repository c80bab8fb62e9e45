package search

import (
	"math"
	"sort"
	"testing"
)

// TestImportance compares with the divergences of a million trials counted in cells, which is what PED-ANOVA is to find from a few hundred.
func TestImportance(t *testing.T) {
	space := Space{
		"a": {Double: []float64{0, 1}}, "b": {Double: []float64{-1, 1}}, "c": {Log: []float64{0.01, 1}},
		"k": {Choice: []any{"u", "v", "w"}}, "none": {Int: []int64{0, 9}}, "one": {Const: 1.0},
	}
	value := func(a, b, c float64, k int) float64 { return 3*a + b*b - 0.5*c + []float64{0, 0.5, 2}[k] }
	r := newRNG(7)
	// The oracle.
	type sample struct{ cell [4]int }
	const n = 1_000_000
	samples, values := make([]sample, n), make([]float64, n)
	for i := range samples {
		a, b, c, k := r.float(), r.float(), r.float(), r.intn(3)
		samples[i] = sample{[4]int{int(a * 32), int(b * 32), int(c * 32), k}}
		values[i] = value(a, 2*b-1, math.Pow(100, c-1), k)
	}
	order := append([]float64(nil), values...)
	sort.Float64s(order)
	limit := order[n/4]
	want, total := map[string]float64{}, 0.0
	for d, name := range []string{"a", "b", "c", "k"} {
		var top, all [32]float64
		for i, s := range samples {
			all[s.cell[d]]++
			if values[i] < limit {
				top[s.cell[d]] += 4
			}
		}
		for i := range all {
			if all[i] > 0 {
				want[name] += (top[i] - all[i]) * (top[i] - all[i]) / all[i]
			}
		}
		total += want[name]
	}
	// A few hundred trials, some of which diverged where they are bad anyway.
	c, _ := space.compile()
	var trials []Prior
	for range 400 {
		x := c.uniform(r)
		p := c.point(x)
		v := value(p["a"].(float64), p["b"].(float64), p["c"].(float64), map[any]int{"u": 0, "v": 1, "w": 2}[p["k"]])
		if v > 4 {
			v = math.NaN()
		}
		trials = append(trials, Prior{Point: p, Value: -v, Share: 1})
	}
	got, err := Importances(space, Max, trials)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, i := range got {
		sum += i.Share
		if w := want[i.Name] / total; math.Abs(i.Share-w) > 0.06 {
			t.Errorf("%s has %.3f, and %.3f from a million trials", i.Name, i.Share, w)
		}
		t.Logf("%-5s %.3f of %.3f", i.Name, i.Share, want[i.Name]/total)
	}
	if got[0].Name != "a" || got[1].Name != "k" || math.Abs(sum-1) > 1e-9 {
		t.Errorf("ranked %v", got)
	}
	if _, err := Importances(space, Max, trials[:5]); err == nil {
		t.Error("five trials were enough")
	}
}
