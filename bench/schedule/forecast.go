package main

import (
	"fmt"
	"io"
	"math/rand/v2"

	"tandem.dev/scheduler/forecast/coverage"
	"tandem.dev/scheduler/sim"
)

// forecasts prints how often a job began within the range that was said when it arrived.
func forecasts(w io.Writer, o options) {
	fmt.Fprintln(w, "| trace | waited | range known | began inside | before | after | median range / wait |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for _, kind := range sim.Kinds() {
		var all coverage.Count
		for seed := 1; seed <= o.seeds; seed++ {
			random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // the same each time
			all.Add(coverage.Of(trace(shape(kind, o.jobs), seed), sim.DefaultConfig(), random))
		}
		of := func(n int) float64 { return 100 * float64(n) / float64(max(1, all.Said)) }
		fmt.Fprintf(w, "| %s | %d | %d | %.1f %% | %.1f %% | %.1f %% | %.2f |\n", kind, all.Waited, all.Said, of(all.Inside), of(all.Early),
			of(all.Late), all.Width())
	}
	fmt.Fprintln(w)
}
