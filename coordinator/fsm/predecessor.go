package fsm

import (
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// predecessors are the jobs that a new job comes after, as they are now. It is refused where it could never begin.
func predecessors(a sight, j *tandemv1.Job) (all []*tandemv1.Predecessor, no *refusal) {
	for _, p := range j.GetAfter() {
		before, ok := a.Job(p.GetJobId())
		completed := before.GetState() == tandemv1.JobState_JOB_STATE_COMPLETED
		switch {
		case !ok:
			return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "job", "name", p.GetJobId())
		case state.JobFinal(before.GetState()) && !completed:
			return nil, &refusal{codePrecondition, endedBefore(before)}
		}
		all = append(all, &tandemv1.Predecessor{JobId: before.GetId(), Name: label(before), Completed: completed})
	}
	return all, nil
}

// endedBefore says why nothing comes after a job.
func endedBefore(j *tandemv1.Job) *tandemv1.Reason {
	return reason(tandemv1.Reason_CODE_PREDECESSOR_ENDED, "name", label(j), "job", j.GetId(), "state", state.EndWord(j.GetState()))
}

// waiting is why a job waits that holds no slots; again: it held some before.
func waiting(j *tandemv1.Job, again bool) *tandemv1.Reason {
	if why := state.WaitsForJobs(j); why != nil {
		return why
	}
	return reason(tandemv1.Reason_CODE_WAITS_FOR_SLOTS, "again", again)
}

// advance lets the jobs go on that come after one that is completed; after one that ended otherwise they end too.
func advance(a *applier, ended *tandemv1.Job) {
	for _, j := range state.Successors(a.View, ended.GetId()) {
		if ended.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED {
			endAfter(a, j, endedBefore(ended))
			continue
		}
		j = edit(a, a.Job, j.GetId(), func(j *tandemv1.Job) {
			for i, p := range j.GetAfter() {
				if p.GetJobId() == ended.GetId() {
					j.After[i] = &tandemv1.Predecessor{JobId: p.GetJobId(), Name: p.GetName(), Completed: true}
				}
			}
		})
		for _, t := range a.TrialsIn(j.GetId(), tandemv1.TrialState_TRIAL_STATE_PENDING) {
			a.explain(t.GetId(), waiting(j, false))
		}
		a.followTrials(j.GetId())
	}
}

// endAfter ends a job that has not begun and never will.
func endAfter(a *applier, j *tandemv1.Job, why *tandemv1.Reason) {
	if kind.Of(j).Searches {
		a.setJobState(j, tandemv1.JobState_JOB_STATE_FAILED, why)
		return
	}
	for _, t := range a.TrialsOf(j.GetId()) {
		a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_FAILED, why)
	}
	a.followTrials(j.GetId())
}
