package dataset

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNormalizeMethods(t *testing.T) {
	// Two features, four rows; the second feature is constant.
	features := []float32{0, 5, 2, 5, 4, 5, 6, 5}
	stats := featureStats(features, 2, []int{0, 1, 2, 3})
	std := math.Sqrt(5)
	if d := cmp.Diff([]Stats{{3, std, 0, 6}, {5, 0, 5, 5}}, stats); d != "" {
		t.Fatal(d)
	}
	pooledStd := float32(math.Sqrt(5./2 + 1))
	for text, want := range map[string][]float32{
		"none":            {0, 5, 2, 5, 4, 5, 6, 5},
		"standard":        {-3 / float32(std), 0, -1 / float32(std), 0, 1 / float32(std), 0, 3 / float32(std), 0},
		"standard-global": {-4 / pooledStd, 1 / pooledStd, -2 / pooledStd, 1 / pooledStd, 0, 1 / pooledStd, 2 / pooledStd, 1 / pooledStd},
		"minmax":          {0, 0, 2. / 6, 0, 4. / 6, 0, 1, 0},
		"minmax-global":   {0, 5. / 6, 2. / 6, 5. / 6, 4. / 6, 5. / 6, 1, 5. / 6},
		"scale:1/2":       {0, 2.5, 1, 2.5, 2, 2.5, 3, 2.5},
		"scale:0.5":       {0, 2.5, 1, 2.5, 2, 2.5, 3, 2.5},
	} {
		ask, err := ParseNormalize(text)
		if err != nil {
			t.Fatal(err)
		}
		n := ask.fit(stats)
		// What serving reads from a published version must do the same, bit for bit.
		j, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var served Normalization
		if err := json.Unmarshal(j, &served); err != nil {
			t.Fatal(err)
		}
		got, again := make([]float32, len(features)), append([]float32{}, features...)
		if err := n.Apply(got, features, 2); err != nil {
			t.Fatal(err)
		}
		if err := served.Apply(again, again, 2); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", text, d)
		}
		if d := cmp.Diff(got, again); d != "" {
			t.Errorf("%s is served differently:\n%s", text, d)
		}
	}
}

func TestNormalizeRefuses(t *testing.T) {
	for _, s := range []string{"", "zscore", "scale", "scale:", "scale:x", "scale:0", "scale:1/0", "scale:NaN", "scale:1e-60", "scale:1/x"} {
		if n, err := ParseNormalize(s); err == nil {
			t.Errorf("%q is read as %+v", s, n)
		}
	}
	two := []float32{0, 0}
	for name, n := range map[string]Normalization{
		"method":  {Method: "other"},
		"lengths": {Method: MethodStandard, Offset: two, Scale: []float32{1}},
		"dim":     {Method: MethodStandard, Offset: two, Scale: []float32{1, 1}},
		"none":    {Method: MethodNone, Offset: []float32{0}, Scale: []float32{1}},
		"zero":    {Method: MethodScale, Offset: []float32{0}, Scale: []float32{0}},
		"nan":     {Method: MethodScale, Offset: []float32{0}, Scale: []float32{float32(math.NaN())}},
	} {
		if err := n.Apply(make([]float32, 3), make([]float32, 3), 3); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	none := Normalization{Method: MethodNone}
	if none.Apply(make([]float32, 3), make([]float32, 3), 2) == nil || none.Apply(make([]float32, 2), make([]float32, 4), 2) == nil {
		t.Error("half a sample was applied")
	}
}

func TestParseSplit(t *testing.T) {
	for s, want := range map[string]Ratio{"80/10/10": {80, 10, 10}, "9/1": {9, 1, 0}, " 1 / 0 / 0 ": {1, 0, 0}} {
		if got, err := ParseSplit(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "80", "80/10/5/5", "a/b", "0/50/50", "-1/1", "80/10/-10", "0.8/0.2", "9999999999/1"} {
		if got, err := ParseSplit(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}
