package dataset

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestMerged: a column whose different values become fewer as 32-bit numbers is named, with two of them; others are not.
func TestMerged(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		value func(i int) string
		want  int64
		of    [2]string
	}{
		"times":         {func(i int) string { return fmt.Sprint(1_700_000_001 + i) }, 98, [2]string{"1700000001", "1700000002"}},
		"ids":           {func(i int) string { return fmt.Sprint(9_007_199_254_740_993 + 2*i) }, 50, [2]string{"9007199254740992", "9007199254740995"}},
		"fractions":     {func(i int) string { return fmt.Sprintf("1.%09d", i) }, 98, [2]string{"1", "1.000000001"}},
		"the same":      {func(int) string { return "1700000001" }, 0, [2]string{}},
		"small numbers": {func(i int) string { return fmt.Sprint(i - 50) }, 0, [2]string{}},
		"many digits":   {func(int) string { return fmt.Sprint(rng.Float64()) }, 0, [2]string{}},
		"gaps":          {func(i int) string { return []string{"", "1", "2"}[i%3] }, 0, [2]string{}},
	} {
		var b strings.Builder
		b.WriteString("a,b,y\n")
		for i := range 100 {
			fmt.Fprintf(&b, "%s,%d,%d\n", c.value(i), i, i%2)
		}
		o := options("1/0/0")
		o.MaxBadRows = 100
		_, r, err := convert(t, b.String(), o)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := r.Columns[0]; got.Merged != c.want || got.MergedExample != c.of {
			t.Errorf("%s: %d became equal, such as %q; want %d, %q", name, got.Merged, got.MergedExample, c.want, c.of)
		}
		if r.Columns[1].Merged != 0 {
			t.Errorf("%s: %+v", name, r.Columns[1])
		}
	}
}
