package train

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestStragglers(t *testing.T) {
	var s Stragglers
	for _, beat := range []struct {
		name  string
		times []float64
		steps int64
		want  []StragglerChange
	}{
		{"level", []float64{1, 1.2, 1.1, 1}, 100, nil},
		{"9 slow steps", []float64{1, 1, 1.6, 1}, 9, nil},
		{"one is fast", []float64{1, 1, 1.4, 1}, 1, nil},
		{"9 again", []float64{1, 1, 1.6, 1}, 9, nil},
		{"10 in a row", []float64{1, 1, 3, 1}, 1, []StragglerChange{{2, true, 3}}},
		{"said once", []float64{1, 1, 3, 1}, 1000, nil},
		{"9 fast steps", []float64{1, 1, 1, 1}, 9, nil},
		{"slow again", []float64{1, 1, 2, 1}, 1, nil},
		{"9 of 10", []float64{1, 1, 1, 1}, 9, nil},
		{"none any more", []float64{1, 1, 1.5, 1}, 1, []StragglerChange{{2, false, 1.5}}},
		{"two at once", []float64{9, 1, 1, 1, 8}, 50, []StragglerChange{{0, true, 9}, {4, true, 8}}},
		{"other ranks", []float64{1, 2}, 9, nil},
		{"of two", []float64{1, 2}, 1, []StragglerChange{{1, true, 2}}},
		{"other ranks, short steps", []float64{0.01, 0.05, 0.01}, 15, nil},
		{"until they come to a second", []float64{0.4, 0.96, 0.4}, 300, []StragglerChange{{1, true, 0.96 / 0.4}}},
		{"no step", []float64{1, 1}, 0, nil},
		{"alone", []float64{5}, 100, nil},
	} {
		if d := cmp.Diff(beat.want, s.Observe(beat.times, beat.steps)); d != "" {
			t.Errorf("%s: %s", beat.name, d)
		}
	}
}

// TestStragglersTurns: of each rank it is said in turn that it is one and that it is none any
// more, and how many steps a sync has does not matter.
func TestStragglersTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := rapid.IntRange(2, 6).Draw(t, "world")
		var whole, single Stragglers
		slow := map[int]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "beats") {
			times := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 0.31, 0.43, 1.01, 2.53}), world, world).Draw(t, "times")
			steps := rapid.Int64Range(1, 12).Draw(t, "steps")
			changes := whole.Observe(times, steps)
			each := slices.Clone(times)
			for rank := range each {
				each[rank] /= float64(steps)
			}
			var one []StragglerChange
			for range steps {
				one = append(one, single.Observe(each, 1)...)
			}
			if len(changes) != len(one) {
				t.Fatalf("%v in one, %v step by step", changes, one)
			}
			for _, c := range changes {
				if slow[c.Rank] == c.Slow {
					t.Fatalf("rank %d: %v twice", c.Rank, c.Slow)
				}
				slow[c.Rank] = c.Slow
			}
		}
	})
}
