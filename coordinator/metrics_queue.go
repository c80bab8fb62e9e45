package coordinator

import (
	"time"

	"tandem.dev/coordinator/placement"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/prom"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// noPool is the pool of trials that want one without nodes, so that made-up names do not become series.
const noPool = "unknown"

// queue is what waits for slots: why, how many slots it wants at least, and for how long the oldest has waited.
func (m *collector) queue(e emitter, v *state.View) {
	type place struct{ pool, reason string }
	length, slots, oldest := map[place]float64{}, map[string]float64{}, map[string]float64{}
	begin := func(pool string) {
		if _, known := slots[pool]; known {
			return
		}
		slots[pool], oldest[pool] = 0, 0
		for _, code := range placement.WaitCodes() {
			length[place{pool, reasonWord(code)}] = 0
		}
	}
	begin(noPool)
	for _, n := range v.Nodes() {
		begin(n.GetPool())
	}
	why, now := m.c.api.Waits(v), time.Now()
	for _, t := range v.TrialsIn("", tandemv1.TrialState_TRIAL_STATE_PENDING) {
		job, _ := v.Job(t.GetJobId())
		if state.WaitsForJobs(job) != nil {
			continue
		}
		pool, needs := state.PoolOf(job), 1 // working alone
		if kind.StageOf(t).Grouped {
			needs = state.WorkersOf(job).Min
		}
		if _, known := slots[pool]; !known {
			pool = noPool
		}
		code := why[t.GetId()].GetCode()
		if code == tandemv1.Reason_CODE_UNSPECIFIED {
			code = t.GetWhy().GetCode()
		}
		length[place{pool, reasonWord(code)}]++
		slots[pool] += float64(needs)
		oldest[pool] = max(oldest[pool], now.Sub(t.GetCreatedAt().AsTime()).Seconds())
	}
	d := desc(prom.Cluster, "queue_length", "Trials that wait for slots, by pool and the code of the reason.", "pool", "reason")
	for at, n := range length {
		e.put(d, n, at.pool, at.reason)
	}
	e.each(desc(prom.Cluster, "queue_slots", "Slots that the trials that wait need at least, by pool.", "pool"), slots)
	e.each(desc(prom.Cluster, "queue_oldest_age_seconds", "Age of the oldest trial that waits for slots, by pool; 0: none waits.", "pool"), oldest)
}

func reasonWord(code tandemv1.Reason_Code) string { return word(code.String(), "CODE_") }
