package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// decideSweep carries out what a search has decided. It refuses all of it when other events were decided on by now. A trial that
// has ended since is left alone: the search is told of that by an event after these.
func (a *applier) decideSweep(c *tandemv1.DecideSweep) (*tandemv1.Result, *refusal) {
	s, j, r := a.openSweep(c.GetSweepId())
	switch {
	case r != nil:
		return nil, r
	case j.GetIntent() != tandemv1.JobIntent_JOB_INTENT_RUN:
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_SWEEP_PAUSED, "name", label(j))
	case state.WaitsForJobs(j) != nil:
		return nil, &refusal{codePrecondition, state.WaitsForJobs(j)}
	case c.GetAfter() != s.GetDecidedSeq():
		return nil, refuse(codeStale, tandemv1.Reason_CODE_SWEEP_DECIDED, "name", label(j), "current", s.GetDecidedSeq(), "given", c.GetAfter())
	case c.GetThrough() <= c.GetAfter() || c.GetThrough() > s.GetEventSeq():
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_SWEEP_EVENTS, "name", label(j), "newest", s.GetEventSeq(), "first", c.GetAfter()+1, "last", c.GetThrough())
	}
	if wrong := state.WrongDecision(a.View, s, c.GetDecisions()); wrong != nil {
		return nil, &refusal{codeInvalid, wrong}
	}
	edit(a, a.Sweep, s.GetId(), func(s *tandemv1.Sweep) { s.DecidedSeq = c.GetThrough() })
	for _, d := range c.GetDecisions() {
		switch what := d.GetDecision().(type) {
		case *tandemv1.SweepDecision_Create:
			a.createTrial(j, what.Create, d.GetReason())
		case *tandemv1.SweepDecision_Continue:
			a.continueTrial(s, what.Continue, d.GetReason())
		case *tandemv1.SweepDecision_Stop:
			if t, _ := a.TrialNumber(s.GetId(), what.Stop.GetTrial()); !state.TrialFinal(t.GetState()) {
				a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_STOPPED, words(d.GetReason()))
			}
		case *tandemv1.SweepDecision_Finish:
			edit(a, a.Sweep, s.GetId(), func(s *tandemv1.Sweep) {
				s.Finished, s.Failed, s.Why, s.Reason = true, what.Finish.GetFailed(), words(d.GetReason()), ""
			})
			a.jobEvent(infoLevel, tandemv1.Event_TYPE_SEARCH_FINISHED, j, words(d.GetReason()))
		}
	}
	a.follow(s.GetId())
	return done(s.GetId()), nil
}

// createTrial makes a trial. One that goes on from another begins at the newest checkpoint of that as it is now.
func (a *applier) createTrial(j *tandemv1.Job, c *tandemv1.CreateTrial, because string) {
	c = state.Clone(c)
	t := &tandemv1.Trial{
		Id: c.GetTrialId(), JobId: j.GetId(), Number: c.GetTrial(), Parameters: c.GetParameters(),
		Spec: c.GetSpec(), SpecHash: c.GetSpecHash(), Until: c.GetUntil(), CreatedAt: a.now,
		State: tandemv1.TrialState_TRIAL_STATE_PENDING, Stage: tandemv1.TrialStage_TRIAL_STAGE_TRAIN,
		Why: reasonFrom(words(because), tandemv1.Reason_CODE_WAITS_FOR_SLOTS),
	}
	if c.GetFrom() > 0 {
		source, _ := a.TrialNumber(j.GetId(), c.GetFrom())
		t.StartCheckpointId = source.GetLatestCheckpointId()
	}
	a.Put(t)
	edit(a, a.Sweep, j.GetId(), func(s *tandemv1.Sweep) { s.Made = t.GetNumber() })
	if c.GetProblem() != "" {
		a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_FAILED, reasonFrom(words(c.GetProblem()), tandemv1.Reason_CODE_SPEC_INVALID))
	}
}

// continueTrial lets a trial train on that waits for the search.
func (a *applier) continueTrial(s *tandemv1.Sweep, c *tandemv1.ContinueTrial, because string) {
	t, _ := a.TrialNumber(s.GetId(), c.GetTrial())
	if !awaitsSearch(t) {
		return
	}
	edit(a, a.Trial, t.GetId(), func(t *tandemv1.Trial) {
		t.State, t.Until, t.Reached = tandemv1.TrialState_TRIAL_STATE_PENDING, c.GetUntil(), false
		t.Why, t.Reason = reasonFrom(words(because), tandemv1.Reason_CODE_WAITS_FOR_SLOTS), ""
	})
}

// followSweep brings the job of a sweep to where its trials and its search are. It looks at counters, not at all trials.
func (a *applier) followSweep(old *tandemv1.Job) {
	s, ok := a.Sweep(old.GetId())
	if !ok || state.JobFinal(old.GetState()) {
		return
	}
	running := s.GetTrials()[state.TrialWord(tandemv1.TrialState_TRIAL_STATE_RUNNING)]
	active := state.ActiveTrials(s)
	switch intent := old.GetIntent(); {
	case intent == tandemv1.JobIntent_JOB_INTENT_CANCEL && active == 0:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_CANCELLED, reason(tandemv1.Reason_CODE_CANCELLED, "by", a.actor))
	case running > 0 && intent == tandemv1.JobIntent_JOB_INTENT_PAUSE:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_RUNNING, reason(tandemv1.Reason_CODE_SWEEP_STOPPING, "trials", running))
	case running > 0:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_RUNNING, reason(tandemv1.Reason_CODE_SWEEP_TRAINING, "trials", running, "made", s.GetMade(), "most", s.GetMaxTrials()))
	case intent == tandemv1.JobIntent_JOB_INTENT_PAUSE:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PAUSED, reason(tandemv1.Reason_CODE_PAUSED, "job", old.GetId()))
	case state.WaitsForJobs(old) != nil:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PENDING, state.WaitsForJobs(old))
	case active > 0:
		t, _ := a.FirstIn(old.GetId(), tandemv1.TrialState_TRIAL_STATE_PENDING)
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PENDING, reasonFrom(given(t.GetWhy(), t.GetReason()), tandemv1.Reason_CODE_SWEEP_WAITING, "trials", active, "first", t.GetId()))
	case !s.GetFinished():
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PENDING, reason(tandemv1.Reason_CODE_SEARCH_DECIDING))
	default:
		next, why := a.concludeSweep(old, s)
		a.setJobState(old, next, why)
	}
}

// concludeSweep ends what waits for a search that is over, lets the best trial be published, and says where the job is then.
func (a *applier) concludeSweep(j *tandemv1.Job, s *tandemv1.Sweep) (tandemv1.JobState, *tandemv1.Reason) {
	over := given(s.GetWhy(), s.GetReason())
	for _, t := range a.TrialsIn(j.GetId(), tandemv1.TrialState_TRIAL_STATE_PAUSED) {
		if state.OfSweep(t) {
			a.recordEnd(t, tandemv1.TrialOutcome_TRIAL_OUTCOME_STOPPED)
			edit(a, a.Trial, t.GetId(), a.final(tandemv1.TrialState_TRIAL_STATE_STOPPED, reasonFrom(over, tandemv1.Reason_CODE_SEARCH_OVER)))
		}
	}
	best, ok := a.Trial(s.GetBestTrialId())
	if !ok {
		return tandemv1.JobState_JOB_STATE_FAILED, reasonFrom(over, tandemv1.Reason_CODE_SWEEP_NO_VALUE, "metric", j.GetSpec().GetMetric(), "job", j.GetId())
	}
	figures := []any{"best", best.GetNumber(), "made", s.GetMade(), "metric", j.GetSpec().GetMetric(), "value", s.GetBestValue(), "percent", state.Unfinished(best)}
	found := reasonFrom(over, tandemv1.Reason_CODE_SWEEP_FOUND, figures...)
	source := best.GetBestCheckpointId()
	switch {
	case s.GetFailed() && source != "":
		return tandemv1.JobState_JOB_STATE_FAILED, reasonFrom(found, tandemv1.Reason_CODE_SWEEP_GAVE_UP, "checkpoint", source)
	case s.GetFailed():
		return tandemv1.JobState_JOB_STATE_FAILED, found
	case j.GetSpec().GetPublish() == nil:
		return tandemv1.JobState_JOB_STATE_COMPLETED, found
	case source == "":
		a.jobEvent(warningLevel, tandemv1.Event_TYPE_JOB_NOT_PUBLISHED, j, nil)
		return tandemv1.JobState_JOB_STATE_COMPLETED, reasonFrom(found, tandemv1.Reason_CODE_SWEEP_NOT_PUBLISHED)
	}
	p, there := a.Trial(state.PublisherID(best.GetId()))
	if !there {
		p = &tandemv1.Trial{
			Id: state.PublisherID(best.GetId()), JobId: j.GetId(), StartCheckpointId: source, CreatedAt: a.now,
			State: tandemv1.TrialState_TRIAL_STATE_PENDING, Stage: tandemv1.TrialStage_TRIAL_STAGE_PUBLISH,
			Why: reason(tandemv1.Reason_CODE_WAITS_TO_PUBLISH, "trial", best.GetNumber()),
		}
		a.Put(p)
		a.jobEvent(infoLevel, tandemv1.Event_TYPE_SWEEP_PUBLISHING, j, nil, "best", best.GetNumber())
	}
	switch p.GetState() {
	case tandemv1.TrialState_TRIAL_STATE_RUNNING:
		return tandemv1.JobState_JOB_STATE_RUNNING, reasonFrom(found, tandemv1.Reason_CODE_SWEEP_PUBLISHING)
	case tandemv1.TrialState_TRIAL_STATE_COMPLETED:
		return tandemv1.JobState_JOB_STATE_COMPLETED, reasonFrom(found, tandemv1.Reason_CODE_SWEEP_PUBLISHED, "version", j.GetPublishedVersion())
	case tandemv1.TrialState_TRIAL_STATE_FAILED, tandemv1.TrialState_TRIAL_STATE_CANCELLED:
		return tandemv1.JobState_JOB_STATE_FAILED, reasonFrom(given(p.GetWhy(), p.GetReason()), tandemv1.Reason_CODE_SWEEP_PUBLISH_FAILED, figures...)
	}
	return tandemv1.JobState_JOB_STATE_PENDING, given(p.GetWhy(), p.GetReason())
}
