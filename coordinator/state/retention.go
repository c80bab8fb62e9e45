package state

import (
	"slices"
	"strconv"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Retention says what becomes of each checkpoint of a job, of all jobs when it is empty, and why: a trial keeps the
// best and the newest that the spec says, and what something needs. Oldest first.
func (v *View) Retention(job string) []*tandemv1.Retention {
	byTrial := map[string][]*tandemv1.Checkpoint{}
	all := v.Checkpoints()
	for _, c := range all {
		byTrial[c.GetTrialId()] = append(byTrial[c.GetTrialId()], c)
	}
	kept := map[string]map[string]*tandemv1.Reason{} // of a trial: why, by checkpoint
	var retention []*tandemv1.Retention
	for _, c := range all {
		if job != "" && c.GetJobId() != job {
			continue
		}
		trial := c.GetTrialId()
		if kept[trial] == nil {
			kept[trial] = v.keptOf(byTrial[trial])
		}
		r := &tandemv1.Retention{Checkpoint: c, Why: kept[trial][c.GetId()]}
		if r.GetWhy() == nil {
			r.Why = v.CheckpointNeed(c)
		}
		r.Keep = r.GetWhy() != nil && !c.GetDeleting()
		switch {
		case c.GetDeleting():
			r.Why = NewReason(tandemv1.Reason_CODE_CHECKPOINT_DELETING)
		case !r.GetKeep():
			r.Why = NewReason(tandemv1.Reason_CODE_CHECKPOINT_SURPLUS)
		}
		retention = append(retention, r)
	}
	return retention
}

// keptOf says why checkpoints of one trial are kept by the spec, by their ids.
func (v *View) keptOf(all []*tandemv1.Checkpoint) map[string]*tandemv1.Reason {
	why := map[string]*tandemv1.Reason{}
	job, ok := v.Job(all[0].GetJobId())
	if !ok {
		for _, c := range all {
			why[c.GetId()] = NewReason(tandemv1.Reason_CODE_CHECKPOINT_OF_UNKNOWN_JOB)
		}
		return why
	}
	trial, _ := v.Trial(all[0].GetTrialId())
	spec := SpecOf(job, trial)
	keep, metric := spec.GetCheckpoint().GetKeep(), spec.GetMetric()
	for i, c := range first(all, int(keep.GetLatest()), LatestCheckpoint) {
		why[c.GetId()] = NewReason(tandemv1.Reason_CODE_CHECKPOINT_KEPT, "newest", strconv.Itoa(i+1))
	}
	best := func(cs []*tandemv1.Checkpoint) *tandemv1.Checkpoint { return BestCheckpoint(spec, cs) }
	for i, c := range first(all, int(keep.GetBest()), best) {
		is := NewReason(tandemv1.Reason_CODE_CHECKPOINT_KEPT, "best", strconv.Itoa(i+1), "metric", metric)
		if newest := why[c.GetId()].GetArgs()["newest"]; newest != "" {
			is.Args["newest"] = newest
		}
		why[c.GetId()] = is
	}
	return why
}

// first returns the n checkpoints that pick picks one after the other; at least one, if there is any.
func first(all []*tandemv1.Checkpoint, n int, pick func([]*tandemv1.Checkpoint) *tandemv1.Checkpoint) (picked []*tandemv1.Checkpoint) {
	rest := slices.Clone(all)
	for range max(n, 1) {
		c := pick(rest)
		if c == nil {
			break
		}
		picked = append(picked, c)
		rest = slices.DeleteFunc(rest, func(x *tandemv1.Checkpoint) bool { return x.GetId() == c.GetId() })
	}
	return picked
}
