package fsm

import (
	"slices"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// evaluationLimit is how many evaluations a trial keeps; the oldest go first.
const evaluationLimit = 1000

// endTrial brings a trial to a final state and takes its slots away.
func (a *applier) endTrial(id string, to tandemv1.TrialState, why *tandemv1.Reason) {
	t, _ := a.Trial(id)
	if state.OfSweep(t) && to != tandemv1.TrialState_TRIAL_STATE_CANCELLED {
		a.recordEnd(t, outcome(t, to))
	}
	if state.OfSweep(t) && to == tandemv1.TrialState_TRIAL_STATE_FAILED {
		j, _ := a.Job(t.GetJobId())
		a.trialEvent(warningLevel, tandemv1.Event_TYPE_TRIAL_FAILED, j, t, why)
	}
	a.release(id, a.final(to, why))
}

// release changes a trial that holds no slots any more.
func (a *applier) release(id string, change func(*tandemv1.Trial)) {
	edit(a, a.Trial, id, func(t *tandemv1.Trial) {
		if t.GetAllocationId() != "" {
			a.held(t)
			a.removeAllocation(t.GetAllocationId())
			t.AllocationId = ""
		}
		change(t)
	})
}

// to is the change of a trial that comes to a state which is not final, and does not wait for a search.
func to(s tandemv1.TrialState, why *tandemv1.Reason) func(*tandemv1.Trial) {
	return func(t *tandemv1.Trial) { t.State, t.Why, t.Reason, t.Reached = s, why, "", false }
}

// because is the change of the reason alone.
func because(why *tandemv1.Reason) func(*tandemv1.Trial) {
	return func(t *tandemv1.Trial) { t.Why, t.Reason = why, "" }
}

// final is the change of a trial that comes to a final state.
func (a sight) final(to tandemv1.TrialState, why *tandemv1.Reason) func(*tandemv1.Trial) {
	return func(t *tandemv1.Trial) {
		t.State = to
		t.Why, t.Reason = why, ""
		t.FinishedAt = a.now
	}
}

// queueTrial lets a trial wait for an allocation.
func (a *applier) queueTrial(id string, why *tandemv1.Reason) {
	a.release(id, to(tandemv1.TrialState_TRIAL_STATE_PENDING, why))
	endOverdue(a, id)
}

// pauseTrial stops a trial with its checkpoints kept.
func (a *applier) pauseTrial(id string, why *tandemv1.Reason) {
	a.release(id, to(tandemv1.TrialState_TRIAL_STATE_PAUSED, why))
}

// explain changes the reason only.
func (a *applier) explain(id string, why *tandemv1.Reason) {
	if t, _ := a.Trial(id); !sameReason(given(t.GetWhy(), t.GetReason()), why) {
		edit(a, a.Trial, id, because(why))
	}
}

// idleLimit is how many generations in a row may end by faults without a step or checkpoint more: faults that do not use
// up max_restarts must not go on for ever.
const idleLimit = 20

// endIdle ends a trial that does not get on; false when it does.
func (a *applier) endIdle(id string, cause *tandemv1.Reason) bool {
	t, _ := a.Trial(id)
	if t.GetIdleGenerations() < idleLimit {
		return false
	}
	a.endTrial(id, tandemv1.TrialState_TRIAL_STATE_FAILED, reasonFrom(cause, tandemv1.Reason_CODE_NO_PROGRESS, "generations", idleLimit, "job", t.GetJobId()))
	return true
}

// countRestart counts one more start of a trial that is not final; where max_restarts is used up it ends the trial and returns false.
func (a *applier) countRestart(id string, cause *tandemv1.Reason) bool {
	t, _ := a.Trial(id)
	j, _ := a.Job(t.GetJobId())
	limit := int32(defaultMaxRestarts)
	if spec := state.SpecOf(j, t); spec != nil && spec.MaxRestarts != nil {
		limit = spec.GetMaxRestarts()
	}
	if t.GetRestartsInRow() >= limit {
		a.endTrial(id, tandemv1.TrialState_TRIAL_STATE_FAILED, reasonFrom(cause, tandemv1.Reason_CODE_RESTARTS_USED_UP, "limit", limit, "logs", logsOf(j, t)))
		return false
	}
	edit(a, a.Trial, id, func(t *tandemv1.Trial) {
		t.Restarts++
		t.RestartsInRow++
	})
	return true
}

// noteSearched notes that the store was searched for what uploads of trials left that were given up.
func (a *applier) noteSearched(c *tandemv1.NoteSearched) (*tandemv1.Result, *refusal) {
	for _, id := range c.GetTrialIds() {
		edit(a, a.Trial, id, func(t *tandemv1.Trial) { t.SearchedAt = a.now })
	}
	return done(""), nil
}

// concludeAllocation decides what comes after the last rank of an allocation has finished or stopped.
func (a *applier) concludeAllocation(alloc *tandemv1.Allocation) {
	t, _ := a.Trial(alloc.GetTrialId())
	j, _ := a.Job(alloc.GetJobId())
	switch {
	case kind.StageOf(alloc).Publishes:
		if _, published := a.Version(state.VersionID(alloc.GetId())); !published {
			a.losePublisher(alloc, reason(tandemv1.Reason_CODE_NO_VERSION), ofEngine)
			return
		}
		a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_PUBLISHED, "version", j.GetPublishedVersion()))
	case len(state.MembersIn(alloc, memberFinished)) > 0 && kind.Of(j).Replays:
		a.replayed(alloc)
	case len(state.MembersIn(alloc, memberFinished)) > 0:
		a.trained(t.GetId())
	case t.GetReached():
		a.awaitSearch(t.GetId())
	case alloc.GetEnds() != nil:
		a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_FAILED, alloc.GetEnds())
	case j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE:
		a.pauseTrial(t.GetId(), reason(tandemv1.Reason_CODE_PAUSED, append(state.ResumePoint(a.View, t), "job", j.GetId())...))
	case alloc.GetStopping():
		a.queueTrial(t.GetId(), reason(tandemv1.Reason_CODE_WAITS_TO_GO_ON, state.ResumePoint(a.View, t)...))
	default:
		cause := reason(tandemv1.Reason_CODE_ENGINES_STOPPED)
		if a.countRestart(t.GetId(), cause) {
			a.giveBack(alloc, cause, ofEngine)
		}
	}
}

// trained goes from training to publishing, or to the end.
func (a *applier) trained(id string) {
	t, _ := a.Trial(id)
	j, _ := a.Job(t.GetJobId())
	if j.GetSpec().GetPublish() == nil || state.OfSweep(t) { // of a sweep only the best is published, at its end
		a.endTrial(id, tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_TRAINED))
		return
	}
	if state.PublishSource(j, t) == "" {
		a.jobEvent(warningLevel, tandemv1.Event_TYPE_JOB_NOT_PUBLISHED, j, nil)
		a.endTrial(id, tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_TRAINED_NOT_PUBLISHED))
		return
	}
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_TRAINED, j, nil)
	a.release(id, func(t *tandemv1.Trial) {
		t.Stage = tandemv1.TrialStage_TRIAL_STAGE_PUBLISH
		t.State = tandemv1.TrialState_TRIAL_STATE_PENDING
		t.Why, t.Reason = reason(tandemv1.Reason_CODE_WAITS_TO_PUBLISH), ""
		if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE {
			t.State = tandemv1.TrialState_TRIAL_STATE_PAUSED
			t.Why = reason(tandemv1.Reason_CODE_PAUSED, "trained", true, "job", j.GetId())
		}
	})
}

// replayed ends a replay with what it found. One that found nothing was lost with rank 0, and is done anew.
func (a *applier) replayed(alloc *tandemv1.Allocation) {
	j, _ := a.Job(alloc.GetJobId())
	cause := reason(tandemv1.Reason_CODE_NO_REPLAY_RESULT)
	switch found := j.GetReplay(); {
	case found == nil:
		if a.countRestart(alloc.GetTrialId(), cause) {
			a.giveBack(alloc, cause, ofEngine)
		}
	case found.GetSame() && found.GetSteps() > 0:
		a.endTrial(alloc.GetTrialId(), tandemv1.TrialState_TRIAL_STATE_COMPLETED, words(found.GetMessage()))
	default:
		a.endTrial(alloc.GetTrialId(), tandemv1.TrialState_TRIAL_STATE_FAILED, words(found.GetMessage()))
	}
}

// foundByReplay records what a replay found.
func (a *applier) foundByReplay(jobID string, found *tandemv1.ReplayOutcome) {
	if j, _ := a.Job(jobID); found != nil && kind.Of(j).Replays {
		edit(a, a.Job, jobID, func(j *tandemv1.Job) { j.Replay = state.Clone(found) })
	}
}

// evaluated records an evaluation. One of a step that is known takes its place: a step done again after a fault. A sweep hears of
// each step once, by the event whose sequence number is returned; 0: there is none.
func (a *applier) evaluated(id string, e *tandemv1.Evaluation) (seq int64) {
	t, _ := a.Trial(id)
	i, known := slices.BinarySearchFunc(t.GetEvaluations(), e.GetStep(), func(e *tandemv1.Evaluation, step int64) int {
		return int(min(max(e.GetStep()-step, -1), 1))
	})
	if i == 0 && !known && len(t.GetEvaluations()) == evaluationLimit {
		return 0 // it was there before it was dropped
	}
	e = state.Clone(e)
	if e.GetTime() == nil {
		e.Time = a.now
	}
	switch e.Seq = 0; {
	case known:
		e.Seq = t.GetEvaluations()[i].GetSeq()
	case state.OfSweep(t):
		e.Seq = a.measured(t, e)
	}
	edit(a, a.Trial, id, func(t *tandemv1.Trial) {
		if known {
			t.Evaluations[i] = e
			return
		}
		t.Evaluations = slices.Insert(t.Evaluations, i, e)
		if n := len(t.Evaluations); n > evaluationLimit {
			t.Evaluations = t.Evaluations[n-evaluationLimit:]
		}
	})
	return e.GetSeq()
}

// logsOf is whose logs a user has to ask for: a job's are those of its trial, but a sweep has many.
func logsOf(j *tandemv1.Job, t *tandemv1.Trial) string {
	if kind.Of(j).Searches {
		return t.GetId()
	}
	return j.GetId()
}
