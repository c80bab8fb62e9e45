package spec

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// wide is a sweep over many values of three hyper-parameters.
func wide(n int) string {
	lists := make([]string, n)
	seeds := make([]string, n)
	rates := make([]string, n)
	for i := range n {
		lists[i], seeds[i], rates[i] = fmt.Sprintf("[%d]", i+1), fmt.Sprint(i), fmt.Sprint(0.001+float64(i)*1e-6)
	}
	return fmt.Sprintf(`{"name":"s","kind":"sweep","dataset":"digits","model":{"mlp":{"hidden":[64]}},"training":{"epochs":20,"batch":32},"search":{"maxTrials":1000,"space":{
	"model.mlp.hidden":{"choice":[%s]},"training.seed":{"choice":[%s]},"training.optimizer.lr":{"choice":[%s]}}}}`,
		strings.Join(lists, ","), strings.Join(seeds, ","), strings.Join(rates, ","))
}

// TestAWideSweepIsCheap: what a check costs follows from the values of a spec, not from their product with the points that are looked at.
func TestAWideSweepIsCheap(t *testing.T) {
	work := func(values int) float64 {
		in := parse(t, wide(values))
		return testing.AllocsPerRun(1, func() {
			if _, err := Complete(in, find); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := work(100), work(1000)
	if each := (many - few) / (3 * 900); each > 50 {
		t.Errorf("a value more takes %.0f allocations: %.0f with 100 values of each, %.0f with 1000", each, few, many)
	}
}

// TestOneOfManyProblemsIsSaid: a list of equal values has one problem.
func TestOneOfManyProblemsIsSaid(t *testing.T) {
	in := parse(t, strings.Replace(wide(1), `"training.seed":{"choice":[0]}`, `"training.seed":{"choice":[`+strings.Repeat("7,", 999)+`7]}`, 1))
	_, err := Complete(in, find)
	if se := (*Error)(nil); !errors.As(err, &se) || len(se.Problems) != 1 || se.Problems[0].Message != "has 7 twice" {
		t.Errorf("%.300v", err)
	}
}

func BenchmarkWideSweep(b *testing.B) {
	in := parse(b, wide(1000))
	for b.Loop() {
		if _, err := Complete(in, find); err != nil {
			b.Fatal(err)
		}
	}
}
