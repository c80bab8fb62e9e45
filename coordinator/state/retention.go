package state

import (
	"fmt"
	"slices"

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
	kept := map[string]map[string]string{} // of a trial: why, by checkpoint
	var retention []*tandemv1.Retention
	for _, c := range all {
		if job != "" && c.GetJobId() != job {
			continue
		}
		trial := c.GetTrialId()
		if kept[trial] == nil {
			kept[trial] = v.keptOf(byTrial[trial])
		}
		r := &tandemv1.Retention{Checkpoint: c, Reason: kept[trial][c.GetId()]}
		if r.GetReason() == "" {
			r.Reason = v.CheckpointNeed(c)
		}
		r.Keep = r.GetReason() != "" && !c.GetDeleting()
		switch {
		case c.GetDeleting():
			r.Reason = "it is being deleted"
		case !r.GetKeep():
			r.Reason = "neither among the best nor among the newest that checkpoint.keep says"
		}
		retention = append(retention, r)
	}
	return retention
}

// keptOf says why checkpoints of one trial are kept by the spec, by their ids.
func (v *View) keptOf(all []*tandemv1.Checkpoint) map[string]string {
	why := map[string]string{}
	job, ok := v.Job(all[0].GetJobId())
	if !ok {
		for _, c := range all {
			why[c.GetId()] = "its job is not known"
		}
		return why
	}
	trial, _ := v.Trial(all[0].GetTrialId())
	spec := SpecOf(job, trial)
	keep, metric := spec.GetCheckpoint().GetKeep(), spec.GetMetric()
	for i, c := range first(all, int(keep.GetLatest()), LatestCheckpoint) {
		why[c.GetId()] = rank("the newest", "newest", i)
	}
	best := func(cs []*tandemv1.Checkpoint) *tandemv1.Checkpoint { return BestCheckpoint(spec, cs) }
	for i, c := range first(all, int(keep.GetBest()), best) {
		is := rank("the best by "+metric, "best by "+metric, i)
		if also := why[c.GetId()]; also != "" {
			is += ", and " + also
		}
		why[c.GetId()] = is
	}
	return why
}

func rank(one, other string, i int) string {
	if i == 0 {
		return one
	}
	return fmt.Sprintf("number %d of the %s", i+1, other)
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
