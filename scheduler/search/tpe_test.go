package search

import (
	"math"
	"testing"
)

// known fills a TPE with trials of three levels, of which 60 got to the first, 55 to the second and 10 to the third; the later, the worse.
func filled(bohb bool) *tpe {
	c, _ := Space{"x": {Double: []float64{0, 1}}}.compile()
	m := Method{Name: TPE, StartupTrials: 10}
	if bohb {
		m.Name = BOHB
	}
	t := newTPE(c, 1, m, 3, nil)
	for level, n := range []int{60, 55, 10} {
		for trial := range n {
			t.tell(trial+1, []float64{float64(trial) / 60}, level, float64(trial))
		}
	}
	return t
}

func TestLevelsOfTPE(t *testing.T) {
	if best, newest, n := filled(true).known(); n != 55 || len(best) != 6 || len(newest) != 55 {
		t.Errorf("BOHB fits %d trials, %d of them good, %d newest; want the 55 of the second rung", n, len(best), len(newest))
	}
	p := filled(false)
	p.tell(60, []float64{1}, 2, 1e9) // the worst got to the third
	best, newest, n := p.known()
	if n != 60 || len(best) != 6 || len(newest) != 60 || best[0] != 0 {
		t.Errorf("TPE fits %d trials, %v good, %d newest; want all 60", n, best, len(newest))
	}
	p.tell(61, []float64{0.5}, 0, -1)
	if best, _, _ := p.known(); best[0] != 0 {
		t.Errorf("the best of the first level, %v, is before those that got to the third", best)
	}
	p.tell(62, []float64{0.5}, 2, math.Inf(1))
	if best, _, _ := p.known(); len(best) != 7 || best[6] == 61 {
		t.Errorf("%v are good: 62 diverged", best)
	}
}

// TestDensity: it integrates to 1 over numbers and choices, and over those whose point lacks a hyper-parameter.
func TestDensity(t *testing.T) {
	c, _ := Space{"k": {Choice: []any{"a", "b", "c"}}, "x": {Double: []float64{0, 1}, When: map[string][]any{"k": {"a", "b"}}}}.compile()
	p := newTPE(c, 1, Method{StartupTrials: 1}, 1, nil)
	var points []observation
	for i, x := range [][]float64{{0.1, 0.05}, {0.5, 0.9}, {0.9, 0.3}} {
		points = append(points, p.seen[p.observe(x)])
		if points[i].active[1] != (i < 2) {
			t.Fatal("x is there with a and b")
		}
	}
	d := newDensity(c, points)
	const cells = 2000
	total := 0.0
	for k := range 3 {
		for i := range cells {
			x := []float64{c.params[0].middle(k), (float64(i) + 0.5) / cells}
			total += math.Exp(d.log(x, c.active(x))) / 3 / cells
		}
	}
	if math.Abs(total-1) > 1e-4 {
		t.Errorf("the density integrates to %v", total)
	}
	// What is drawn follows it.
	r := newRNG(3)
	count, want := 0.0, 0.0
	const n = 200_000
	for range n {
		if x := d.draw(r); c.params[0].cell(x[0]) == 0 && x[1] < 0.2 {
			count++
		}
	}
	for i := range cells / 5 {
		x := []float64{c.params[0].middle(0), (float64(i) + 0.5) / cells}
		want += math.Exp(d.log(x, c.active(x))) / 3 / cells
	}
	if math.Abs(count/n-want) > 0.005 {
		t.Errorf("%v of what is drawn lies where %v should", count/n, want)
	}
}
