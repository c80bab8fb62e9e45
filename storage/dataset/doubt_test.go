package dataset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDoubt: columns that are seldom meant as they are, and no others, are named.
func TestDoubt(t *testing.T) {
	const usual = 5 // of the values of the second column
	for name, c := range map[string]struct {
		value  func(i int) string // of the first column
		change func(*Options)
		want   string
	}{
		"usual":               {func(i int) string { return fmt.Sprint(i * 7 % 10) }, nil, ""},
		"constant":            {func(int) string { return "3" }, nil, "constant"},
		"constant pixels":     {func(int) string { return "3" }, func(o *Options) { o.Shape = []int64{1, 1, 2} }, ""},
		"ids":                 {func(i int) string { return fmt.Sprint(1000 + i) }, nil, "counts"},
		"falling":             {func(i int) string { return fmt.Sprint(1000 - 3*i) }, nil, "counts"},
		"rising measurements": {func(i int) string { return fmt.Sprint(float64(i) + 0.5) }, nil, ""},
		"one step back":       {func(i int) string { return fmt.Sprint(1000 + i - 2*(i/99)) }, nil, ""},
		"a large scale":       {func(i int) string { return fmt.Sprint(10_000 * (i * 7 % 10)) }, nil, "scales b a"},
		"normalised":          {func(i int) string { return fmt.Sprint(10_000 * (i * 7 % 10)) }, func(o *Options) { o.Normalize.Method = MethodStandard }, ""},
		"not each":            {func(i int) string { return fmt.Sprint(10_000 * (i * 7 % 10)) }, func(o *Options) { o.Normalize.Method = MethodStandardGlobal }, "scales b a"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("a,b,y\n")
			for i := range 100 {
				fmt.Fprintf(&b, "%s,%d,%d\n", c.value(i), i%usual, i%2)
			}
			o := options("1/0/0")
			if c.change != nil {
				c.change(&o)
			}
			_, r, err := convert(t, b.String(), o)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if r.Columns[0].Constant {
				got = append(got, "constant")
			}
			if r.Columns[0].Counts {
				got = append(got, "counts")
			}
			if r.Scales[0] != "" {
				got = append(got, "scales", r.Scales[0], r.Scales[1])
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" || r.Columns[1].Constant || r.Columns[1].Counts {
				t.Errorf("(-want +got):\n%s%+v", diff, r.Columns)
			}
		})
	}
}

// TestWordsAmongNumbers: words that are a good part of the labels are classes, and no bad rows.
func TestWordsAmongNumbers(t *testing.T) {
	for name, c := range map[string]struct {
		label   func(i int) string
		classes int
		bad     int64
	}{
		"a third":             {func(i int) string { return []string{"1", "2", "three"}[i%3] }, 3, 0},
		"one slip":            {func(i int) string { return map[bool]string{true: "x", false: fmt.Sprint(i % 2)}[i == 7] }, 2, 1},
		"one in 30, repeated": {func(i int) string { return map[bool]string{true: "x", false: fmt.Sprint(i % 2)}[i%30 == 7] }, 2, 3},
		"many slips": {func(i int) string {
			return map[bool]string{true: fmt.Sprint("x", i), false: fmt.Sprint(i % 2)}[i%10 == 7]
		}, 2, 9},
	} {
		var b strings.Builder
		b.WriteString("a,y\n")
		for i := range 90 {
			fmt.Fprintf(&b, "%d,%s\n", i%7, c.label(i))
		}
		o := options("1/0/0")
		o.MaxBadRows = 100
		m, r, err := convert(t, b.String(), o)
		if err != nil || m.NumClasses != c.classes || r.BadRows != c.bad {
			t.Errorf("%s: %d classes, %d bad rows: %v", name, m.NumClasses, r.BadRows, err)
		}
	}
}
