package dataset

import (
	"bytes"
	"context"
	"math"
	"os"
	"testing"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

func digits(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../examples/digits/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// store converts csv into a fresh store below "datasets/d".
func store(t *testing.T, csv []byte, o Options) (*memstore.Store, Manifest, Report) {
	t.Helper()
	s := memstore.New(memstore.Config{})
	m, r, err := FromCSV(t.Context(), bytes.NewReader(csv), o, sinkTo(t.Context(), s))
	if err != nil {
		t.Fatal(err)
	}
	return s, m, r
}

func sinkTo(ctx context.Context, s storage.Store) func(string, []byte) error {
	return func(name string, b []byte) error {
		return s.Put(ctx, "datasets/d/"+name, bytes.NewReader(b), int64(len(b)))
	}
}

func TestDigits(t *testing.T) {
	o := DefaultOptions()
	o.Label, o.Seed, o.Shape = "label", 7, []int64{1, 8, 8}
	o.Normalize = Normalize{Method: MethodStandardGlobal}
	s, m, r := store(t, digits(t), o)
	if r.Rows != 1797 || r.BadRows != 0 || r.Task != TaskClassification || m.NumClasses != 10 || m.ClassNames != nil || m.FeatureDim() != 64 {
		t.Fatalf("report %+v", r)
	}
	if m.Splits[0].Rows != 1437 || m.Splits[1].Rows != 180 || m.Splits[2].Rows != 180 {
		t.Fatalf("splits %d %d %d", m.Splits[0].Rows, m.Splits[1].Rows, m.Splits[2].Rows)
	}
	d, err := Open(t.Context(), s, "datasets/d")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, name := range splitNames() {
		tab, err := d.Split(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		total += tab.Rows
		counts := make([]int64, 10)
		for _, y := range tab.Labels {
			counts[y]++
		}
		for c, n := range counts {
			all := r.Classes[c].Rows[0] + r.Classes[c].Rows[1] + r.Classes[c].Rows[2]
			want := float64(all) * float64(o.Split[i]) / 100
			if n != r.Classes[c].Rows[i] || math.Abs(float64(n)-want) > 2 {
				t.Errorf("split %s class %d: %d rows, report says %d, ratio says %.1f", name, c, n, r.Classes[c].Rows[i], want)
			}
		}
		if name != Train {
			continue
		}
		x := make([]float32, len(tab.Features))
		if err := m.Normalization.Apply(x, tab.Features, 64); err != nil {
			t.Fatal(err)
		}
		var sum, squares float64
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean := sum / float64(len(x))
		if std := math.Sqrt(squares/float64(len(x)) - mean*mean); math.Abs(mean) > 1e-5 || math.Abs(std-1) > 1e-5 {
			t.Errorf("normalised training data has mean %g and deviation %g", mean, std)
		}
	}
	if total != 1797 {
		t.Errorf("%d rows in all splits", total)
	}
	checkCopy(t, s)
}
