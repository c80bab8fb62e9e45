package coverage_test

import (
	"math/rand/v2"
	"testing"

	"tandem.dev/scheduler/forecast/coverage"
	"tandem.dev/scheduler/sim"
)

// TestRangeHolds: a job that does not begin at once begins within the range that was said when it arrived in nine cases of ten.
func TestRangeHolds(t *testing.T) {
	for _, kind := range sim.Kinds() {
		var all coverage.Count
		for seed := uint64(1); seed <= 3; seed++ {
			trace := sim.Generate(sim.Shape{
				Kind: kind, Nodes: 16, Slots: 8, Jobs: 800, Load: 0.95, Elastic: 0.5, Failures: 0.1, Urgent: 0.1, Users: 20,
			}, rand.New(rand.NewPCG(seed, 0)).Float64) //nolint:gosec // the same each time
			all.Add(coverage.Of(trace, sim.DefaultConfig(), rand.New(rand.NewPCG(seed, 1)))) //nolint:gosec // the same each time
		}
		t.Logf("%s: %d of %d that waited: %.1f %% inside, %d before, %d after; the median range is %.2f of the wait",
			kind, all.Said, all.Waited, 100*all.Part(), all.Early, all.Late, all.Width())
		if all.Said < 100 || all.Part() < 0.85 || all.Part() > 0.95 {
			t.Errorf("%s: the range of %d forecasts held %.1f %% of what came, want 85 to 95", kind, all.Said, 100*all.Part())
		}
	}
}
