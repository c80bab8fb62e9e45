package fsm

import (
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// evaluationLimit is how many evaluations a trial keeps; the oldest go first.
const evaluationLimit = 1000

// change puts a changed trial and lets its job follow. The trial holds no allocation any more when release is set.
func (a *applier) change(t *tandemv1.Trial, release bool, edit func(*tandemv1.Trial)) {
	a.put(t, release, edit)
	a.followTrials(t.GetJobId())
}

// put is change without the job.
func (a *applier) put(t *tandemv1.Trial, release bool, edit func(*tandemv1.Trial)) {
	before := t.GetState()
	t = state.CopyTrial(t)
	if release && t.GetAllocationId() != "" {
		a.removeAllocation(t.GetAllocationId())
		t.AllocationId = ""
	}
	edit(t)
	a.Put(t)
	a.countTrial(t, before)
}

// endTrial brings a trial to a final state and takes its slots away.
func (a *applier) endTrial(t *tandemv1.Trial, to tandemv1.TrialState, why *tandemv1.Reason) {
	if t.GetNumber() > 0 && to != tandemv1.TrialState_TRIAL_STATE_CANCELLED {
		a.recordEnd(t, outcome(t, to))
	}
	if t.GetNumber() > 0 && to == tandemv1.TrialState_TRIAL_STATE_FAILED {
		j, _ := a.Job(t.GetJobId())
		a.trialEvent(warningLevel, tandemv1.Event_TYPE_TRIAL_FAILED, j, t, why)
	}
	a.change(t, true, a.final(to, why))
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
func (a *applier) final(to tandemv1.TrialState, why *tandemv1.Reason) func(*tandemv1.Trial) {
	return func(t *tandemv1.Trial) {
		t.State = to
		t.Why, t.Reason = why, ""
		t.FinishedAt = a.now
	}
}

// queueTrial lets a trial wait for an allocation.
func (a *applier) queueTrial(t *tandemv1.Trial, why *tandemv1.Reason) {
	a.change(t, true, to(tandemv1.TrialState_TRIAL_STATE_PENDING, why))
}

// pauseTrial stops a trial with its checkpoints kept.
func (a *applier) pauseTrial(t *tandemv1.Trial, why *tandemv1.Reason) {
	a.change(t, true, to(tandemv1.TrialState_TRIAL_STATE_PAUSED, why))
}

// explain changes the reason only.
func (a *applier) explain(t *tandemv1.Trial, why *tandemv1.Reason) {
	if !sameReason(given(t.GetWhy(), t.GetReason()), why) {
		a.change(t, false, because(why))
	}
}

// idleLimit is how many generations in a row may end by faults without a step or checkpoint more: faults that do not use
// up max_restarts must not go on for ever.
const idleLimit = 20

// endIdle ends a trial that does not get on; false when it does.
func (a *applier) endIdle(t *tandemv1.Trial, j *tandemv1.Job, cause *tandemv1.Reason) bool {
	if t.GetIdleGenerations() < idleLimit {
		return false
	}
	a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_FAILED, reasonFrom(cause, tandemv1.Reason_CODE_NO_PROGRESS, "generations", idleLimit, "job", j.GetId()))
	return true
}

// countRestart counts one more start of a trial that is not final; where max_restarts is used up it ends the trial and
// returns false.
func (a *applier) countRestart(t *tandemv1.Trial, j *tandemv1.Job, cause *tandemv1.Reason) bool {
	limit := int32(defaultMaxRestarts)
	if spec := state.SpecOf(j, t); spec != nil && spec.MaxRestarts != nil {
		limit = spec.GetMaxRestarts()
	}
	if t.GetRestartsInRow() >= limit {
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_FAILED, reasonFrom(cause, tandemv1.Reason_CODE_RESTARTS_USED_UP, "limit", limit, "logs", logsOf(j, t)))
		return false
	}
	t = state.CopyTrial(t)
	t.Restarts++
	t.RestartsInRow++
	a.Put(t)
	return true
}

// noteSearched notes that the store was searched for what uploads of trials left that were given up.
func (a *applier) noteSearched(c *tandemv1.NoteSearched) (*tandemv1.Result, *refusal) {
	for _, id := range c.GetTrialIds() {
		if t, ok := a.Trial(id); ok {
			t = state.CopyTrial(t)
			t.SearchedAt = a.now
			a.Put(t)
		}
	}
	return done(""), nil
}

// resumePoint says where a trial goes on, as arguments.
func (a *applier) resumePoint(t *tandemv1.Trial) []any {
	if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		return []any{"publishes", true}
	}
	j, _ := a.Job(t.GetJobId())
	c, _ := a.Checkpoint(resumeSource(j, t))
	return []any{"step", c.GetStep()} // 0: the beginning
}

// resumeSource returns the checkpoint that training begins from: the one that a replay names, else the trial's latest, else that
// of the trial it goes on from.
func resumeSource(j *tandemv1.Job, t *tandemv1.Trial) string {
	if id := j.GetSpec().GetReplay().GetCheckpointId(); id != "" {
		return id
	}
	if id := t.GetLatestCheckpointId(); id != "" {
		return id
	}
	return t.GetStartCheckpointId()
}

// concludeAllocation decides what comes after the last rank of an allocation has finished or stopped.
func (a *applier) concludeAllocation(alloc *tandemv1.Allocation) {
	t, _ := a.Trial(alloc.GetTrialId())
	j, _ := a.Job(alloc.GetJobId())
	switch {
	case alloc.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH:
		if _, published := a.Version(state.VersionID(alloc.GetId())); !published {
			a.losePublisher(alloc, reason(tandemv1.Reason_CODE_NO_VERSION), ofEngine)
			return
		}
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_PUBLISHED, "version", j.GetPublishedVersion()))
	case len(state.MembersIn(alloc, memberFinished)) > 0 && j.GetKind() == tandemv1.JobKind_JOB_KIND_REPLAY:
		a.replayed(alloc, j, t)
	case len(state.MembersIn(alloc, memberFinished)) > 0:
		a.trained(j, t)
	case t.GetReached():
		a.awaitSearch(t)
	case j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE:
		a.pauseTrial(t, reason(tandemv1.Reason_CODE_PAUSED, append(a.resumePoint(t), "job", j.GetId())...))
	case alloc.GetStopping():
		a.queueTrial(t, reason(tandemv1.Reason_CODE_WAITS_TO_GO_ON, a.resumePoint(t)...))
	default:
		cause := reason(tandemv1.Reason_CODE_ENGINES_STOPPED)
		if a.countRestart(t, j, cause) {
			a.giveBack(alloc, cause, ofEngine)
		}
	}
}

// trained goes from training to publishing, or to the end.
func (a *applier) trained(j *tandemv1.Job, t *tandemv1.Trial) {
	if j.GetSpec().GetPublish() == nil || t.GetNumber() > 0 { // of a sweep only the best is published, at its end
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_TRAINED))
		return
	}
	if a.publishSource(j, t) == "" {
		a.jobEvent(warningLevel, tandemv1.Event_TYPE_JOB_NOT_PUBLISHED, j, nil)
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_TRAINED_NOT_PUBLISHED))
		return
	}
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_TRAINED, j, nil)
	a.change(t, true, func(t *tandemv1.Trial) {
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
func (a *applier) replayed(alloc *tandemv1.Allocation, j *tandemv1.Job, t *tandemv1.Trial) {
	cause := reason(tandemv1.Reason_CODE_NO_REPLAY_RESULT)
	switch found := j.GetReplay(); {
	case found == nil:
		if a.countRestart(t, j, cause) {
			a.giveBack(alloc, cause, ofEngine)
		}
	case found.GetSame() && found.GetSteps() > 0:
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_COMPLETED, words(found.GetMessage()))
	default:
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_FAILED, words(found.GetMessage()))
	}
}

// foundByReplay records what a replay found.
func (a *applier) foundByReplay(jobID string, found *tandemv1.ReplayOutcome) {
	j, _ := a.Job(jobID)
	if found == nil || j.GetKind() != tandemv1.JobKind_JOB_KIND_REPLAY {
		return
	}
	j = state.Clone(j)
	j.Replay = state.Clone(found)
	a.Put(j)
}

// publishSource returns the checkpoint that a job publishes: the one it names, that of the best trial of a sweep, else its best,
// else its latest.
func (a *applier) publishSource(j *tandemv1.Job, t *tandemv1.Trial) string {
	if id := j.GetSpec().GetPublish().GetCheckpointId(); id != "" {
		return id
	}
	if j.GetKind() == tandemv1.JobKind_JOB_KIND_SWEEP {
		return t.GetStartCheckpointId()
	}
	if id := t.GetBestCheckpointId(); id != "" {
		return id
	}
	return t.GetLatestCheckpointId()
}

// evaluated records an evaluation. One of a step that is known takes its place: a step done again after a fault. A sweep hears of
// each step once.
func (a *applier) evaluated(t *tandemv1.Trial, e *tandemv1.Evaluation) {
	i, known := slices.BinarySearchFunc(t.GetEvaluations(), e.GetStep(), func(e *tandemv1.Evaluation, step int64) int {
		return int(min(max(e.GetStep()-step, -1), 1))
	})
	if i == 0 && !known && len(t.GetEvaluations()) == evaluationLimit {
		return // it was there before it was dropped
	}
	e = state.Clone(e)
	if e.GetTime() == nil {
		e.Time = a.now
	}
	switch e.Seq = 0; {
	case known:
		e.Seq = t.GetEvaluations()[i].GetSeq()
		a.seq = e.GetSeq()
	case t.GetNumber() > 0:
		e.Seq = a.measured(t, e)
	}
	a.change(t, false, func(t *tandemv1.Trial) {
		if known {
			t.Evaluations[i] = e
			return
		}
		t.Evaluations = slices.Insert(t.Evaluations, i, e)
		if n := len(t.Evaluations); n > evaluationLimit {
			t.Evaluations = t.Evaluations[n-evaluationLimit:]
		}
	})
}

// logsOf is whose logs a user has to ask for: a job's are those of its trial, but a sweep has many.
func logsOf(j *tandemv1.Job, t *tandemv1.Trial) string {
	if j.GetKind() == tandemv1.JobKind_JOB_KIND_SWEEP {
		return t.GetId()
	}
	return j.GetId()
}
