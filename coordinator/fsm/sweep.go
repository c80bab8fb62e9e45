package fsm

import (
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
)

func (a *applier) createSweep(c *tandemv1.CreateJob) (*tandemv1.Result, *refusal) {
	if r := a.checkSweep(c); r != nil {
		return nil, r
	}
	j := a.newJob(c.GetJob(), reason(tandemv1.Reason_CODE_SEARCH_STARTING))
	if why := state.WaitsForJobs(j); why != nil {
		j.Why = why
	}
	a.Put(j)
	given := state.Clone(c.GetSweep())
	a.Put(&tandemv1.Sweep{
		Id: j.GetId(), MaxTrials: given.GetMaxTrials(), Deadline: given.GetDeadline(), Prior: given.GetPrior(), PriorMade: given.GetPriorMade(), Parameters: given.GetParameters(),
	})
	a.happened(j.GetId(), &tandemv1.SweepEvent{Event: &tandemv1.SweepEvent_Begun{Begun: &tandemv1.SweepBegun{}}}, nil)
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_SUBMITTED, j, nil, "by", j.GetSubmittedBy())
	return done(j.GetId()), nil
}

func (a sight) checkSweep(c *tandemv1.CreateJob) *refusal {
	j := c.GetJob()
	if j.GetId() == "" {
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "job", "field", "id")
	}
	if _, ok := a.Job(j.GetId()); ok {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "job", "name", j.GetId())
	}
	switch {
	case c.GetTrial() != nil:
		return refuse(codeInvalid, tandemv1.Reason_CODE_SWEEP_MAKES_TRIALS)
	case c.GetSweep().GetMaxTrials() < 1:
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "sweep", "field", "max_trials")
	case j.GetSpec().GetSearch() == nil:
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "sweep", "field", "search")
	}
	if _, no := projectFor(a, j.GetProject()); no != nil {
		return no
	}
	if _, no := predecessors(a, j); no != nil {
		return no
	}
	return a.checkTraining(j.GetSpec())
}

// happened records what happened to a sweep, and changes it too if change is given.
func (a *applier) happened(id string, e *tandemv1.SweepEvent, change func(*tandemv1.Sweep)) int64 {
	s := edit(a, a.Sweep, id, func(s *tandemv1.Sweep) {
		s.EventSeq++
		if change != nil {
			change(s)
		}
	})
	e.Id, e.SweepId, e.Seq, e.Time = state.SweepEventID(id, s.GetEventSeq()), id, s.GetEventSeq(), a.now
	a.Put(e)
	return e.GetSeq()
}

// recordEnd records how a trial of a sweep stopped training.
func (a *applier) recordEnd(t *tandemv1.Trial, how tandemv1.TrialOutcome) {
	a.happened(t.GetJobId(), &tandemv1.SweepEvent{Event: &tandemv1.SweepEvent_Ended{
		Ended: &tandemv1.TrialEnded{Trial: t.GetNumber(), Outcome: how, AllocationId: t.GetAllocationId()},
	}}, nil)
}

// outcome is how a trial that came to a final state stopped training.
func outcome(t *tandemv1.Trial, to tandemv1.TrialState) tandemv1.TrialOutcome {
	switch {
	case to == tandemv1.TrialState_TRIAL_STATE_COMPLETED:
		return tandemv1.TrialOutcome_TRIAL_OUTCOME_COMPLETED
	case to == tandemv1.TrialState_TRIAL_STATE_FAILED && t.GetDiverged():
		return tandemv1.TrialOutcome_TRIAL_OUTCOME_DIVERGED
	case to == tandemv1.TrialState_TRIAL_STATE_FAILED:
		return tandemv1.TrialOutcome_TRIAL_OUTCOME_FAILED
	}
	return tandemv1.TrialOutcome_TRIAL_OUTCOME_STOPPED
}

// measured records a value of the metric of a trial of a sweep; 0 when there is none.
func (a *applier) measured(t *tandemv1.Trial, e *tandemv1.Evaluation) int64 {
	j, _ := a.Job(t.GetJobId())
	spec := j.GetSpec() // metric and mode are the same for all
	value, ok := state.ValueOf(spec, e)
	share, known := state.ShareOf(t, e.GetStep())
	if !ok || !known {
		return 0
	}
	return a.happened(t.GetJobId(), &tandemv1.SweepEvent{Event: &tandemv1.SweepEvent_Measured{
		Measured: &tandemv1.TrialMeasured{Trial: t.GetNumber(), Share: share, Value: value},
	}}, func(s *tandemv1.Sweep) {
		best, there := a.Trial(s.GetBestTrialId())
		// Of equals the first made, whoever came there first: that does not depend on how fast they trained.
		if tie := value == s.GetBestValue() && t.GetNumber() < best.GetNumber(); !there || tie || state.BetterValue(spec, value, s.GetBestValue()) {
			s.BestTrialId, s.BestValue = t.GetId(), proto.Float64(value)
		}
	})
}

// markReached notes that a trial has trained as far as the search wanted it to; when all its ranks have stopped, it waits.
func (a *applier) markReached(id string) {
	if t, _ := a.Trial(id); state.OfSweep(t) && !t.GetReached() {
		edit(a, a.Trial, id, func(t *tandemv1.Trial) { t.Reached = true })
	}
}

// awaitsSearch says whether a trial has trained as far as the search wanted it to and waits for it.
func awaitsSearch(t *tandemv1.Trial) bool {
	return t.GetState() == tandemv1.TrialState_TRIAL_STATE_PAUSED && t.GetReached()
}

// awaitSearch lets a trial wait for the search.
func (a *applier) awaitSearch(id string) {
	t, _ := a.Trial(id)
	a.recordEnd(t, tandemv1.TrialOutcome_TRIAL_OUTCOME_REACHED)
	why := reason(tandemv1.Reason_CODE_WAITS_FOR_SEARCH, state.ResumePoint(a.View, t)...)
	a.release(id, func(t *tandemv1.Trial) {
		t.State, t.Why, t.Reason = tandemv1.TrialState_TRIAL_STATE_PAUSED, why, ""
	})
}

// spend counts the time that members of an allocation have held slots, which they give back now.
func (a *applier) spend(alloc *tandemv1.Allocation, members ...*tandemv1.Member) {
	a.tx.AddUsage(alloc.GetJobId(), members, a.now.AsTime())
	if _, ok := a.Sweep(alloc.GetJobId()); !ok || len(members) == 0 {
		return
	}
	edit(a, a.Sweep, alloc.GetJobId(), func(s *tandemv1.Sweep) {
		for _, m := range members {
			s.SlotSeconds += max(0, a.now.AsTime().Sub(m.GetAddedAt().AsTime()).Seconds())
		}
	})
}

// countTrial keeps the numbers of trials of a sweep by their states.
func (a *applier) countTrial(t *tandemv1.Trial, before tandemv1.TrialState) {
	if !state.OfSweep(t) || t.GetState() == before {
		return
	}
	edit(a, a.Sweep, t.GetJobId(), func(s *tandemv1.Sweep) {
		if before != tandemv1.TrialState_TRIAL_STATE_UNSPECIFIED {
			if s.Trials[state.TrialWord(before)]--; s.Trials[state.TrialWord(before)] == 0 {
				delete(s.Trials, state.TrialWord(before))
			}
		}
		s.Trials[state.TrialWord(t.GetState())]++
	})
}

func (a *applier) exhaustSweep(c *tandemv1.ExhaustSweep) (*tandemv1.Result, *refusal) {
	s, j, r := a.openSweep(c.GetSweepId())
	switch {
	case r != nil:
		return nil, r
	case s.GetExhausted():
		return done(s.GetId()), nil
	}
	a.happened(s.GetId(), &tandemv1.SweepEvent{Event: &tandemv1.SweepEvent_Exhausted{Exhausted: &tandemv1.SweepExhausted{Why: given(c.GetWhy(), c.GetReason())}}},
		func(s *tandemv1.Sweep) { s.Exhausted = true })
	a.jobEvent(warningLevel, tandemv1.Event_TYPE_SWEEP_EXHAUSTED, j, given(c.GetWhy(), c.GetReason()))
	return done(s.GetId()), nil
}

// openSweep finds a sweep that has not ended.
func (a sight) openSweep(id string) (*tandemv1.Sweep, *tandemv1.Job, *refusal) {
	s, ok := a.Sweep(id)
	if !ok {
		return nil, nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "sweep", "name", id)
	}
	j, _ := a.Job(id)
	if state.JobFinal(j.GetState()) {
		return s, j, refuse(codePrecondition, tandemv1.Reason_CODE_JOB_ENDED, "noun", "sweep", "name", label(j), "state", state.EndWord(j.GetState()))
	}
	return s, j, nil
}

// extendSweep lets a sweep make more trials; one that is completed goes on.
func (a *applier) extendSweep(c *tandemv1.ExtendSweep) (*tandemv1.Result, *refusal) {
	s, ok := a.Sweep(c.GetSweepId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "sweep", "name", c.GetSweepId())
	}
	j, _ := a.Job(s.GetId())
	switch {
	case state.JobFinal(j.GetState()) && j.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED:
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_SWEEP_ENDED, "name", label(j), "state", state.EndWord(j.GetState()), "job", j.GetId())
	case s.GetExhausted():
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_SWEEP_EXHAUSTED, "name", label(j), "job", j.GetId())
	case state.PublishesBest(a.View, s.GetId()):
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_SWEEP_PUBLISHES, "name", label(j))
	case c.GetMaxTrials() <= s.GetMaxTrials():
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_SWEEP_TRIALS, "name", label(j), "trials", s.GetMaxTrials())
	}
	if r := a.checkTraining(j.GetSpec()); r != nil { // its dataset may have been deleted
		return nil, r
	}
	a.happened(s.GetId(), &tandemv1.SweepEvent{Event: &tandemv1.SweepEvent_Extended{Extended: &tandemv1.SweepExtended{MaxTrials: c.GetMaxTrials()}}},
		func(s *tandemv1.Sweep) {
			s.MaxTrials, s.Finished, s.Failed, s.Why, s.Reason = c.GetMaxTrials(), false, false, nil, ""
		})
	if state.JobFinal(j.GetState()) {
		for _, t := range a.TrialsOf(j.GetId()) { // what they write from now on stays, also where their logs were deleted
			if g, ok := a.GarbageAt(layout.Logs(t.GetId())); ok {
				a.Delete(g)
			}
		}
		edit(a, a.Job, j.GetId(), func(j *tandemv1.Job) {
			j.State, j.Why, j.Reason, j.FinishedAt = tandemv1.JobState_JOB_STATE_PENDING, reason(tandemv1.Reason_CODE_SWEEP_RESUMED), "", nil
		})
	}
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_SWEEP_EXTENDED, j, nil, "trials", c.GetMaxTrials(), "by", a.actor)
	a.follow(j.GetId())
	return done(j.GetId()), nil
}

func (a *applier) stopSweepTrial(c *tandemv1.StopSweepTrial) (*tandemv1.Result, *refusal) {
	s, ok := a.Sweep(c.GetSweepId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "sweep", "name", c.GetSweepId())
	}
	t, ok := a.TrialNumber(s.GetId(), c.GetTrial())
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_TRIAL_UNKNOWN, "job", s.GetId(), "trial", c.GetTrial())
	case t.GetState() == tandemv1.TrialState_TRIAL_STATE_STOPPED:
		return done(t.GetId()), nil
	case state.TrialFinal(t.GetState()):
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_TRIAL_ENDED, "trial", t.GetNumber(), "state", state.TrialWord(t.GetState()))
	}
	a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_STOPPED, reason(tandemv1.Reason_CODE_STOPPED, "by", a.actor))
	return done(t.GetId()), nil
}
