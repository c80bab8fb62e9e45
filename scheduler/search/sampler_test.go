package search

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFits: of earlier trials those fit that are points of the space and were measured where the search compares; the first that does
// not says why.
func TestFits(t *testing.T) {
	of := func(prior ...Prior) Config {
		return Config{Space: Space{"x": {Double: []float64{0, 1}}}, Method: Method{Name: ASHA, Divisor: 4, Rungs: 2}, MaxTrials: 4, Prior: prior}
	}
	in, wide := Prior{Point: Point{"x": 0.25}, Share: 1}, Prior{Point: Point{"x": 7.0}, Share: 1}
	more, early := Prior{Point: Point{"x": 0.5, "y": 1.0}, Share: 1}, Prior{Point: Point{"x": 0.5}, Share: 0.1}
	for _, tc := range []struct {
		name  string
		prior []Prior
		fit   []int
		why   string
	}{
		{"all", []Prior{in, in}, []int{0, 1}, ""},
		{"none was made", nil, nil, ""},
		{"some", []Prior{wide, in, early}, []int{1}, "7 is not in the domain of x"},
		{"another space", []Prior{more}, nil, "the point x 0.5, y 1 has hyper-parameters that are not in the space"},
		{"too early", []Prior{early}, nil, "was measured at 10 % of the training, and this search compares at 25 % of the training first"},
	} {
		fit, why := of(tc.prior...).Fits()
		if diff := cmp.Diff(tc.fit, fit); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if tc.why == "" && why != nil || tc.why != "" && (why == nil || !strings.Contains(why.Error(), tc.why)) {
			t.Errorf("%s: %v, want %q", tc.name, why, tc.why)
		}
	}
}
