package search

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nested is a space with conditions two deep, out of alphabetical order.
func nested() Space {
	return Space{
		"z.kind":  {Choice: []any{"sgd", "adam", "lion"}},
		"a.lr":    {Log: []float64{1e-4, 1}, Count: 3},
		"m.mom":   {Choice: []any{0.0, 0.9}, When: map[string][]any{"z.kind": {"sgd"}}},
		"b.nest":  {Int: []int64{10, 30}, Step: 10, When: map[string][]any{"m.mom": {0.9}}},
		"c.beta":  {Double: []float64{0.5, 1}, Count: 2, When: map[string][]any{"z.kind": {"adam", "lion"}}},
		"k.const": {Const: []any{1.0, 2.0}},
	}
}

func TestSpaceProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		space Space
		want  []string
	}{
		"fine":  {nested(), nil},
		"empty": {Space{}, []string{"space: is empty: name at least one hyper-parameter to search"}},
		"all at once": {Space{
			"a": {},
			"b": {Int: []int64{1, 2}, Double: []float64{1, 2}},
			"c": {Log: []float64{0, 1}},
			"d": {Double: []float64{2, 1}},
			"e": {Choice: []any{1.0, 1.0}, Count: 2},
			"f": {Int: []int64{1, 9}, Step: 9},
			"g": {Double: []float64{math.NaN(), 1}, Step: 1},
			"h": {Int: []int64{1}},
			"i": {Choice: []any{map[string]any{}}},
			"j": {Int: []int64{1, 3}, Count: 4},
		}, []string{
			"space.a: needs exactly one of int, double, log, choice and const, and has 0",
			"space.b: needs exactly one of int, double, log, choice and const, and has 2",
			"space.c.log: 0 is not above 0",
			"space.d.double: min 2 is not below max 1; for a single value use const",
			"space.e.choice: has 1 twice",
			"space.e.count: is for int, double and log only",
			"space.f.step: must be 1 to 8",
			"space.g.double: needs finite numbers",
			"space.g.step: is for int only",
			"space.h.int: needs two numbers, [min, max], and has 1",
			"space.i.choice: map[] is not a number, a text, true or false, or a list of them",
			"space.j.count: is 4, but there are only 3 whole numbers",
		}},
		"conditions": {Space{
			"a": {Const: 1.0, When: map[string][]any{"b": {true}}},
			"b": {Choice: []any{true, false}, When: map[string][]any{"c": {2.0}}},
			"c": {Int: []int64{1, 3}, When: map[string][]any{"a": {1.0}}},
			"d": {Const: 1.0, When: map[string][]any{"x": {1.0}, "b": {"true"}, "e": {0.5}, "c": {}}},
			"e": {Double: []float64{0, 1}},
			"f": {Const: 1.0, When: map[string][]any{"c": {1.0, 4.0, 1.5}}},
		}, []string{
			"space.d.when.b: true is not a value of b",
			"space.d.when.c: needs at least one value",
			"space.d.when.e: a condition needs an int, choice or const, and this has values without number",
			"space.d.when.x: there is no hyper-parameter of this name in the space",
			"space.f.when.c: 4 is not a value of c",
			"space.f.when.c: 1.5 is not a value of c",
			"space.a.when: conditions go round in a circle: a -> b -> c -> a",
		}},
		"within": {Space{"a.b": {Const: 1.0}, "a": {Const: 1.0}}, []string{"space.a.b: lies within a, which is searched as a whole"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range tt.space.Validate() {
				got = append(got, p.Path+": "+p.Message)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGridIsComplete goes through the grid and counts: no point comes twice, and there are as many as GridSize says.
func TestGridIsComplete(t *testing.T) {
	for _, s := range []Space{
		nested(),
		{"a": {Int: []int64{0, 9}, Count: 4}, "b": {Const: 1.0, When: map[string][]any{"a": {3.0, 5.0}}}, "c": {Choice: []any{"x", "y"}, When: map[string][]any{"a": {0.0}}}},
		{"a": {Log: []float64{1, 100}, Count: 1}, "b": {Int: []int64{-4, 5}, Step: 3}},
	} {
		c, wrong := s.compile()
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		seen := map[string]bool{}
		g := &grid{cube: c}
		for {
			x, _, ok := g.propose(0)
			if !ok {
				break
			}
			key := fmt.Sprint(c.point(x))
			if seen[key] {
				t.Fatalf("%s comes twice", key)
			}
			seen[key] = true
		}
		if len(seen) != s.GridSize() {
			t.Errorf("%d points, but GridSize is %d", len(seen), s.GridSize())
		}
	}
	if got := nested().GridSize(); got != 3*((1+3)+2+2) {
		t.Errorf("the nested space has %d grid points", got)
	}
}

func TestGridValues(t *testing.T) {
	s := Space{"log": {Log: []float64{0.01, 1}, Count: 3}, "int": {Int: []int64{0, 10}, Step: 2, Count: 3}}
	c, _ := s.compile()
	g := &grid{cube: c}
	var got []string
	for x, _, ok := g.propose(0); ok; x, _, ok = g.propose(0) {
		p := c.point(x)
		got = append(got, fmt.Sprintf("%v %.4g", p["int"], p["log"]))
	}
	want := "0 0.01,0 0.1,0 1,6 0.01,6 0.1,6 1,10 0.01,10 0.1,10 1"
	if strings.Join(got, ",") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestSize(t *testing.T) {
	many := Space{}
	for i := range 40 {
		d := Domain{Choice: []any{true, false}}
		if i > 0 {
			d.When = map[string][]any{fmt.Sprintf("p%02d", i-1): {true, false}}
		}
		many[fmt.Sprintf("p%02d", i)] = d
	}
	for _, tt := range []struct {
		space Space
		want  int
	}{
		{nested(), 0},
		{Space{"a": {Int: []int64{1, 10}}, "b": {Choice: []any{1.0, 2.0}}}, 20},
		{Space{"a": {Int: []int64{0, 1 << 50}}, "b": {Int: []int64{0, 1 << 50}}}, math.MaxInt},
		{Space{"a": {Int: []int64{1, 1 << 40}}, "b": {Choice: []any{1.0, 2.0}, When: map[string][]any{"a": {7.0}}}}, 1<<40 + 1},
		{Space{"a": {Choice: []any{1.0, 2.0, 3.0}}, "b": {Double: []float64{0, 1}, When: map[string][]any{"a": {1.0}}}}, 0}, // without number
		{many, math.MaxInt}, // more than would be counted in a moment
	} {
		if got := tt.space.Size(); got != tt.want {
			t.Errorf("size of %v is %d, want %d", tt.space.names(), got, tt.want)
		}
	}
}

// TestCoordinates: what a point of the cube stands for has coordinates that stand for the same.
func TestCoordinates(t *testing.T) {
	c, _ := nested().compile()
	for i := range 1000 {
		p := c.point(c.uniform(newRNG(uint64(i))))
		x, err := c.at(p)
		if err != nil {
			t.Fatal(err)
		}
		q := c.point(x)
		if diff := cmp.Diff(p, q, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Abs(a) })); diff != "" {
			t.Fatalf("there and back (-want +got):\n%s", diff)
		}
		if _, ok := p["m.mom"]; ok != (p["z.kind"] == "sgd") {
			t.Fatalf("the condition of m.mom does not hold in %v", p)
		}
		if _, ok := p["b.nest"]; ok != (p["m.mom"] == 0.9) {
			t.Fatalf("the condition of b.nest does not hold in %v", p)
		}
	}
	for _, p := range []Point{{}, {"a.lr": 1.0}, {"a.lr": 2.0, "z.kind": "adam", "c.beta": 0.5, "k.const": []any{1.0, 2.0}}, {"a.lr": 0.1, "z.kind": "adam", "c.beta": 0.5, "m.mom": 0.9, "k.const": []any{1.0, 2.0}}} {
		if _, err := c.at(p); err == nil {
			t.Errorf("%v was taken for a point of the space", p)
		}
	}
}

// TestKeysOfValues: equal values have one key, others have others.
func TestKeysOfValues(t *testing.T) {
	values := []any{0.0, 1.0, "0", "1", "", true, "true", []any{}, []any{0.0}, []any{"0"}, []any{0.0, 1.0}, []any{"0,1"}, []any{[]any{0.0}, 1.0}, []any{[]any{0.0, 1.0}}, "[0,]", "\"0\""}
	for i, a := range values {
		for j, b := range values {
			if same := keyOf(a) == keyOf(b); same != (i == j) {
				t.Errorf("%#v and %#v: %t", a, b, same)
			}
		}
	}
	if keyOf(math.Copysign(0, -1)) != keyOf(0.0) {
		t.Error("-0 is not 0")
	}
}
