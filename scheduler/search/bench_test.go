package search

import "testing"

// BenchmarkTenThousand decides a whole search of 10,000 trials, each measured three times: what a driver spends on deciding.
func BenchmarkTenThousand(b *testing.B) {
	for _, m := range []Method{{Name: Random}, {Name: Sobol}, {Name: TPE}, {Name: CMAES}, {Name: ASHA}, {Name: ASHA, Variant: VariantStop}, {Name: Hyperband}, {Name: BOHB}, {Name: PBT, Population: 1000}, {Name: Random, Stop: StopMedian}} {
		b.Run(m.Name+m.Variant+m.Stop, func(b *testing.B) {
			events := 0
			for b.Loop() {
				w := newWorld(b, Config{Space: nested(), Method: m, MaxTrials: 10_000, MaxConcurrent: 16}, func(_ int, p Point, share float64) float64 { return p["a.lr"].(float64) - share })
				w.evaluations = 3
				w.run(b)
				events += len(w.log)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(events), "µs/event")
		})
	}
}
