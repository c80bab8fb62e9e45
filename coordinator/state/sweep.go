package state

import (
	"fmt"
	"maps"
	"math"
	"strings"

	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Sweep returns the search of a job of kind sweep, by the id of the job.
func (v *View) Sweep(id string) (*tandemv1.Sweep, bool) {
	return get[*tandemv1.Sweep](v, sweepTable, id)
}

// Sweeps returns all sweeps by id.
func (v *View) Sweeps() []*tandemv1.Sweep { return all[*tandemv1.Sweep](v, sweepTable) }

// SweepEventID returns the identity of an event of a sweep; those of one sweep are ordered as they happened.
func SweepEventID(sweep string, seq int64) string { return sweep + "/" + number(seq) }

// SweepEvents returns the events of a sweep after a sequence number, in order; limit 0 means all.
func (v *View) SweepEvents(sweep string, after int64, limit int) []*tandemv1.SweepEvent {
	return from(v, sweepEventTable, "id", SweepEventID(sweep, after+1), limit,
		func(e *tandemv1.SweepEvent) bool { return e.GetSweepId() == sweep })
}

// EndOf returns the event that told of the end of a trial which held an allocation.
func (v *View) EndOf(allocation string) (*tandemv1.SweepEvent, bool) {
	return firstOf[*tandemv1.SweepEvent](v, sweepEventTable, "allocation", allocation)
}

// AllSweepEvents returns the events of all sweeps by id.
func (v *View) AllSweepEvents() []*tandemv1.SweepEvent {
	return all[*tandemv1.SweepEvent](v, sweepEventTable)
}

// CopySweep returns a copy of a row, to change and put. What only CreateJob writes is shared with the row.
func CopySweep(s *tandemv1.Sweep) *tandemv1.Sweep {
	c := Shallow(s)
	if c.Trials = maps.Clone(s.GetTrials()); c.Trials == nil {
		c.Trials = map[string]int32{}
	}
	return c
}

// TrialWord is the state of a trial as a sweep counts it: "running".
func TrialWord(s tandemv1.TrialState) string {
	return plain.Word(s)
}

// ActiveTrials is how many trials of a sweep hold slots or wait for some.
func ActiveTrials(s *tandemv1.Sweep) int32 {
	return s.GetTrials()[TrialWord(tandemv1.TrialState_TRIAL_STATE_RUNNING)] + s.GetTrials()[TrialWord(tandemv1.TrialState_TRIAL_STATE_PENDING)]
}

// PublisherID returns the identity of the trial that publishes the best one of a sweep.
func PublisherID(best string) string {
	_, ulid, _ := strings.Cut(best, "-")
	return "publisher-" + ulid
}

// ValueOf returns the metric of a spec in an evaluation; false when it does not exist or not a finite number.
func ValueOf(spec *tandemv1.JobSpec, e *tandemv1.Evaluation) (float64, bool) {
	value, ok := e.GetMetrics()[spec.GetMetric()]
	return value, ok && !math.IsNaN(value) && !math.IsInf(value, 0)
}

// BetterValue says whether a value of the metric of a spec is better than another.
func BetterValue(spec *tandemv1.JobSpec, a, b float64) bool {
	if spec.GetMode() == "max" {
		return a > b
	}
	return a < b
}

// ShareOf is the share of the whole training of a trial that so many steps are.
func ShareOf(t *tandemv1.Trial, step int64) (float64, bool) {
	if t.GetTotalSteps() <= 0 || step <= 0 {
		return 0, false
	}
	return min(1, float64(step)/float64(t.GetTotalSteps())), true
}

// SlotSeconds is how long slots were held for a sweep, those that are held now included.
func SlotSeconds(v *View, s *tandemv1.Sweep, now float64) (total float64, held int) {
	total = s.GetSlotSeconds()
	for _, t := range v.TrialsIn(s.GetId(), tandemv1.TrialState_TRIAL_STATE_RUNNING) {
		a, _ := v.Allocation(t.GetAllocationId())
		for _, m := range a.GetMembers() {
			total += max(0, now-seconds(m))
			held++
		}
	}
	return total, held
}

func seconds(m *tandemv1.Member) float64 {
	return float64(m.GetAddedAt().GetSeconds()) + float64(m.GetAddedAt().GetNanos())/1e9
}

// TrialLabel names a trial of a sweep for people: "trial 7".
func TrialLabel(t *tandemv1.Trial) string { return fmt.Sprintf("trial %d", t.GetNumber()) }

// StepOf is how many steps a trial is known to have done.
func StepOf(t *tandemv1.Trial) int64 {
	step := t.GetKnownStep()
	if n := len(t.GetEvaluations()); n > 0 {
		step = max(step, t.GetEvaluations()[n-1].GetStep())
	}
	return step
}
