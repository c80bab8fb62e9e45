package train

import "testing"

func TestSourceIsTheFurthest(t *testing.T) {
	at := func(done int64, fingerprint uint64) standing { return standing{done: done, fingerprint: fingerprint} }
	for name, c := range map[string]struct {
		all  []standing
		want int
	}{
		"nobody has any":                  {[]standing{{}, {}}, -1},
		"one has":                         {[]standing{{}, at(1, 5), {}}, 1},
		"the second is a step ahead":      {[]standing{at(8, 5), at(9, 6), at(8, 5)}, 1},
		"the last is":                     {[]standing{at(8, 5), {}, at(9, 6)}, 2},
		"all are equally far":             {[]standing{{}, at(8, 5), at(8, 5)}, 1},
		"most hold another state":         {[]standing{at(8, 5), at(8, 6), at(8, 6)}, 1},
		"most of those that are furthest": {[]standing{at(7, 5), at(7, 5), at(7, 5), at(8, 6), at(8, 7), at(8, 7)}, 4},
	} {
		if got := source(c.all); got != c.want {
			t.Errorf("%s: rank %d, want %d", name, got, c.want)
		}
	}
}

func TestStandingSurvivesTheSum(t *testing.T) {
	for _, s := range []standing{{}, {done: 1 << 40, looked: true, fingerprint: 0xfedcba9876543210}, {done: 3, fingerprint: 1, warm: true}} {
		v := make([]float64, standingSlots)
		s.put(v)
		if got := standingOf(v); got != s {
			t.Errorf("%+v came out as %+v", s, got)
		}
	}
}
