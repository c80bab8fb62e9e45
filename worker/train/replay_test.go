package train

import (
	"math"
	"strings"
	"testing"

	"tandem.dev/storage/metric"
)

// stepsOf is a segment of rank 0 with the figures of steps from first on.
func stepsOf(generation int64, world int, seq, first int64, loss ...float64) metric.Segment {
	norm := make(metric.Floats, len(loss))
	for i := range loss {
		norm[i] = 2 * loss[i]
	}
	return metric.Segment{
		Header: metric.Header{Kind: metric.Steps, Generation: generation, World: world, Seq: seq},
		Runs:   []metric.Run{{First: first, Loss: loss, Norm: norm}},
	}
}

func TestReplayCompare(t *testing.T) {
	now := []metric.Segment{stepsOf(1, 2, 0, 11, 0.1, 0.2, 0.3, 0.4)}
	next := math.Nextafter(0.3, 1)
	norm := stepsOf(5, 2, 0, 9, 9, 9, 0.1, 0.2, 0.3, 0.4)
	norm.Runs[0].Norm[3] = math.Nextafter(0.4, 0)
	skipped := []metric.Segment{stepsOf(5, 2, 0, 11, 0.1), stepsOf(5, 2, 1, 13, 0.3, 0.4)}
	for name, c := range map[string]struct {
		then  []metric.Segment
		now   []metric.Segment
		asked int64
		same  bool
		steps int64
		words string
	}{
		"all the same":            {then: []metric.Segment{stepsOf(5, 2, 0, 9, 9, 9, 0.1, 0.2, 0.3, 0.4, 0.5)}, same: true, steps: 4, words: "4 steps from step 10 gave the same bits as then."},
		"as many as asked for":    {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2, 0.3, 0.4)}, asked: 4, same: true, steps: 4, words: "4 steps from step 10 gave the same bits as then."},
		"the training ends":       {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2, 0.3, 0.4)}, asked: 20, same: true, steps: 4, words: "4 of 20 steps from step 10 gave the same bits as then. The training ends at step 14."},
		"it ends, not all known":  {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2)}, asked: 20, same: true, steps: 2, words: "2 of 20 steps from step 10 gave the same bits as then. The training ends at step 14. Not all up to step 14"},
		"a bit of the loss":       {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2, next, 0.4)}, steps: 2, words: "Step 13 differs"},
		"a bit of the norm":       {then: []metric.Segment{norm}, steps: 1, words: "gradient norm 0.4 now, 0.39999999999999997 then"},
		"nothing recorded":        {words: "Nothing was compared"},
		"the first one missing":   {then: []metric.Segment{stepsOf(5, 2, 0, 12, 0.2, 0.3, 0.4)}, words: "no record of step 11"},
		"the last ones missing":   {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2)}, same: true, steps: 2, words: "Not all up to step 14"},
		"skipped then and now":    {then: skipped, now: skipped, same: true, steps: 3, words: "3 steps"},
		"skipped now":             {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2)}, now: skipped, steps: 1, words: "Step 12 differs from what the training did then: it was left out now"},
		"another world size":      {then: []metric.Segment{stepsOf(5, 3, 0, 11, 0.1, 0.2)}, words: "world size of 2"},
		"the generation before":   {then: []metric.Segment{stepsOf(4, 2, 0, 11, 0.1, 0.2)}, words: "Nothing was compared"},
		"the generation after":    {then: []metric.Segment{stepsOf(6, 2, 0, 11, 0.1, 0.2, 0.3, 0.4)}, same: true, steps: 4, words: "4 steps"},
		"two generations":         {then: []metric.Segment{stepsOf(6, 2, 0, 13, 0.3, 0.4), stepsOf(5, 2, 0, 11, 0.1, 0.2, 7)}, same: true, steps: 4, words: "4 steps"},
		"the newer one differs":   {then: []metric.Segment{stepsOf(6, 2, 0, 12, 7), stepsOf(5, 2, 0, 11, 0.1, 0.2, 0.3, 0.4)}, steps: 1, words: "Step 12 differs"},
		"then with other ranks":   {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2), stepsOf(6, 1, 0, 13, 7, 7), stepsOf(7, 2, 0, 14, 7)}, same: true, steps: 2, words: "Not all"},
		"a generation unrecorded": {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2), stepsOf(7, 2, 0, 13, 7, 7)}, same: true, steps: 2, words: "Not all"},
		"done twice, last counts": {then: []metric.Segment{stepsOf(5, 2, 1, 11, 0.1, 0.2, 0.3, 0.4), stepsOf(5, 2, 0, 11, 7, 7)}, same: true, steps: 4, words: "4 steps"},
		"not finite":              {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, math.NaN())}, now: []metric.Segment{stepsOf(1, 2, 0, 11, 0.1, math.Inf(1))}, same: true, steps: 2, words: "2 steps"},
		"not finite now":          {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0.1, 0.2)}, now: []metric.Segment{stepsOf(1, 2, 0, 11, 0.1, math.NaN())}, steps: 1, words: "Step 12 differs"},
		"minus nought":            {then: []metric.Segment{stepsOf(5, 2, 0, 11, 0)}, now: []metric.Segment{stepsOf(1, 2, 0, 11, math.Copysign(0, -1))}, words: "Step 11 differs"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.now == nil {
				c.now = now
			}
			got := Replay{Step: 10, Last: 14, Asked: c.asked, Generation: 5, World: 2}.Compare(c.then, c.now)
			if got.GetSame() != c.same || got.GetSteps() != c.steps || !strings.Contains(got.GetMessage(), c.words) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestReplayOfNoSteps: what can be done about a checkpoint of the last step is said.
func TestReplayOfNoSteps(t *testing.T) {
	got := Replay{Step: 10, Last: 10, Asked: 20, Generation: 5, World: 2}.Compare(nil, nil)
	if got.GetSame() || got.GetSteps() != 0 || !strings.Contains(got.GetMessage(), "ends at step 10") || !strings.Contains(got.GetMessage(), "Take an earlier one") {
		t.Errorf("got %v", got)
	}
}
