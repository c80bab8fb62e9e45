package analysis

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage/metric"
)

// TestComputeSteps: the loss of each step is that of rank 0 over its share of the batch, the smaller one at an epoch's end too; what was
// done again counts as it was done last, by whatever number of ranks.
func TestComputeSteps(t *testing.T) {
	of := func(generation int64, rank, world int, first int64, loss, norm []float64) metric.Segment {
		return metric.Segment{
			Header: metric.Header{Generation: generation, Rank: rank, World: world, Begin: 100 * generation},
			Runs:   []metric.Run{{First: first, Loss: loss, Norm: norm}},
		}
	}
	segments := []metric.Segment{
		of(2, 0, 1, 3, []float64{4, 8}, []float64{4, math.NaN()}), // steps 3 and 4 again, alone
		of(1, 0, 2, 1, []float64{6, 3, 9, 9}, []float64{1, 2, 3, 3.5}),
		of(1, 1, 2, 1, []float64{99, 99, 99}, []float64{99, 99, 99}), // another rank
		of(2, -1, 0, 3, []float64{99}, []float64{99}),                // in no group
		of(3, 0, 5, 5, []float64{7, 0}, []float64{5, 6}),             // more ranks than rows: rank 0 had none
	}
	got := ComputeSteps(segments, RowsOfStep(10, 4))
	want := []Series{
		{StepLoss, []Point{{1, 3, 100}, {2, 1.5, 100}, {3, 2, 200}, {4, 2, 200}}},
		{StepNorm, []Point{{1, 1, 100}, {2, 2, 100}, {3, 4, 200}, {5, 5, 300}, {6, 6, 300}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRowsOfStep(t *testing.T) {
	rows := RowsOfStep(10, 4)
	var got []int64
	for step := range int64(7) {
		got = append(got, rows(step))
	}
	if diff := cmp.Diff([]int64{0, 4, 4, 2, 4, 4, 2}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if RowsOfStep(0, 4)(1) != 0 || RowsOfStep(8, 4)(2) != 4 {
		t.Error("no rows, or whole batches alone")
	}
}
