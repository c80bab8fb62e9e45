package fsm

import (
	"fmt"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// decideSweep carries out what a search has decided. It refuses all of it when other events were decided on by now. A trial that
// has ended since is left alone: the search is told of that by an event after these.
func (a *applier) decideSweep(c *tandemv1.DecideSweep) *tandemv1.Result {
	s, j, r := a.openSweep(c.GetSweepId())
	switch {
	case r != nil:
		return r
	case j.GetIntent() != tandemv1.JobIntent_JOB_INTENT_RUN:
		return refuse(precondition, "sweep %s is paused", label(j))
	case c.GetAfter() != s.GetDecidedSeq():
		return refuse(stale, "sweep %s was decided on up to event %d, not %d", label(j), s.GetDecidedSeq(), c.GetAfter())
	case c.GetThrough() <= c.GetAfter() || c.GetThrough() > s.GetEventSeq():
		return refuse(invalid, "sweep %s has events up to %d: none are decided on from %d to %d", label(j), s.GetEventSeq(), c.GetAfter()+1, c.GetThrough())
	}
	if why := a.checkDecisions(s, c.GetDecisions()); why != "" {
		return refuse(invalid, "%s", why)
	}
	a.editSweep(s.GetId(), func(s *tandemv1.Sweep) { s.DecidedSeq = c.GetThrough() })
	a.halved = true
	for _, d := range c.GetDecisions() {
		switch what := d.GetDecision().(type) {
		case *tandemv1.SweepDecision_Create:
			a.createTrial(j, what.Create, d.GetReason())
		case *tandemv1.SweepDecision_Continue:
			a.continueTrial(s, what.Continue, d.GetReason())
		case *tandemv1.SweepDecision_Stop:
			if t, _ := a.TrialNumber(s.GetId(), what.Stop.GetTrial()); !state.TrialFinal(t.GetState()) {
				a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_STOPPED, sentence(d.GetReason()))
			}
		case *tandemv1.SweepDecision_Finish:
			a.editSweep(s.GetId(), func(s *tandemv1.Sweep) {
				s.Finished, s.Failed, s.Reason = true, what.Finish.GetFailed(), sentence(d.GetReason())
			})
			a.jobEvent(info, j, "has searched enough: %s", d.GetReason())
		}
	}
	a.halved = false
	a.followTrials(s.GetId())
	return done(s.GetId())
}

// checkDecisions says why decisions cannot be carried out whatever has happened since; empty when they can.
func (a *applier) checkDecisions(s *tandemv1.Sweep, all []*tandemv1.SweepDecision) string {
	made, ids := s.GetMade(), map[string]bool{}
	for _, d := range all {
		if s.GetFinished() && (d.GetCreate() != nil || d.GetContinue() != nil) {
			return "the search is over: no trial is made or goes on"
		}
		number := int32(0)
		switch what := d.GetDecision().(type) {
		case *tandemv1.SweepDecision_Create:
			c := what.Create
			_, taken := a.Trial(c.GetTrialId())
			switch {
			case c.GetTrial() != made+1 || c.GetTrial() > s.GetMaxTrials():
				return fmt.Sprintf("the next trial is %d of %d, not %d", made+1, s.GetMaxTrials(), c.GetTrial())
			case c.GetTrialId() == "" || taken || ids[c.GetTrialId()] || c.GetSpec() == nil:
				return fmt.Sprintf("trial %d needs an id of its own and a spec", c.GetTrial())
			case c.GetFrom() < 0 || c.GetFrom() > made:
				return fmt.Sprintf("trial %d cannot begin from trial %d, which is not there", c.GetTrial(), c.GetFrom())
			}
			made++
			ids[c.GetTrialId()] = true
			continue
		case *tandemv1.SweepDecision_Continue:
			number = what.Continue.GetTrial()
		case *tandemv1.SweepDecision_Stop:
			number = what.Stop.GetTrial()
		case *tandemv1.SweepDecision_Finish:
			continue
		default:
			return "a decision says nothing"
		}
		if number < 1 || number > made {
			return fmt.Sprintf("trial %d is not there", number)
		}
	}
	return ""
}

// createTrial makes a trial. One that goes on from another begins at the newest checkpoint of that as it is now.
func (a *applier) createTrial(j *tandemv1.Job, c *tandemv1.CreateTrial, reason string) {
	c = state.Clone(c)
	t := &tandemv1.Trial{
		Id: c.GetTrialId(), JobId: j.GetId(), Number: c.GetTrial(), Parameters: c.GetParameters(),
		Spec: c.GetSpec(), SpecHash: c.GetSpecHash(), Until: c.GetUntil(), CreatedAt: a.now,
		State: tandemv1.TrialState_TRIAL_STATE_PENDING, Stage: tandemv1.TrialStage_TRIAL_STAGE_TRAIN,
		Reason: "Waits to be placed.",
	}
	if reason != "" {
		t.Reason = sentence(reason) + " Waits to be placed."
	}
	if c.GetFrom() > 0 {
		source, _ := a.TrialNumber(j.GetId(), c.GetFrom())
		t.StartCheckpointId = source.GetLatestCheckpointId()
	}
	a.Put(t)
	a.editSweep(j.GetId(), func(s *tandemv1.Sweep) { s.Made = t.GetNumber() })
	a.countTrial(t, tandemv1.TrialState_TRIAL_STATE_UNSPECIFIED)
	if c.GetProblem() != "" {
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_FAILED, sentence(c.GetProblem()))
	}
}

// continueTrial lets a trial train on that waits for the search.
func (a *applier) continueTrial(s *tandemv1.Sweep, c *tandemv1.ContinueTrial, reason string) {
	t, _ := a.TrialNumber(s.GetId(), c.GetTrial())
	if !waits(t) {
		return
	}
	a.change(t, false, func(t *tandemv1.Trial) {
		t.State, t.Until, t.Reached = tandemv1.TrialState_TRIAL_STATE_PENDING, c.GetUntil(), false
		t.Reason = sentence(reason) + " Waits to be placed."
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
		a.setJobState(old, tandemv1.JobState_JOB_STATE_CANCELLED, "Cancelled by "+a.who()+".")
	case running > 0 && intent == tandemv1.JobIntent_JOB_INTENT_PAUSE:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_RUNNING, fmt.Sprintf("%s with a checkpoint, as a user asked.", stopping(running)))
	case running > 0:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_RUNNING, fmt.Sprintf("%s; %d of at most %d made.", training(running), s.GetMade(), s.GetMaxTrials()))
	case intent == tandemv1.JobIntent_JOB_INTENT_PAUSE:
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PAUSED, "Paused; resume it with: tandem resume "+old.GetId())
	case active > 0:
		t, _ := a.FirstIn(old.GetId(), tandemv1.TrialState_TRIAL_STATE_PENDING)
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PENDING, placing(active, t.GetReason()))
	case !s.GetFinished():
		a.setJobState(old, tandemv1.JobState_JOB_STATE_PENDING, "Waits for the search to decide.")
	default:
		next, reason := a.concludeSweep(old, s)
		a.setJobState(old, next, reason)
	}
}

func training(n int32) string {
	if n == 1 {
		return "1 trial trains"
	}
	return fmt.Sprintf("%d trials train", n)
}

func placing(n int32, first string) string {
	if n == 1 {
		return "1 trial waits: " + first
	}
	return fmt.Sprintf("%d trials wait, the first: %s", n, first)
}

func stopping(n int32) string {
	if n == 1 {
		return "1 trial stops"
	}
	return fmt.Sprintf("%d trials stop", n)
}

// concludeSweep ends what waits for a search that is over, lets the best trial be published, and says where the job is then.
func (a *applier) concludeSweep(j *tandemv1.Job, s *tandemv1.Sweep) (tandemv1.JobState, string) {
	for _, t := range a.TrialsIn(j.GetId(), tandemv1.TrialState_TRIAL_STATE_PAUSED) {
		if t.GetNumber() > 0 {
			a.hasEnded(t, tandemv1.TrialOutcome_TRIAL_OUTCOME_STOPPED)
			a.put(t, false, a.final(tandemv1.TrialState_TRIAL_STATE_STOPPED, "The search is over: "+s.GetReason()))
		}
	}
	best, ok := a.Trial(s.GetBestTrialId())
	if !ok {
		return tandemv1.JobState_JOB_STATE_FAILED, fmt.Sprintf("%s No trial gave a value of %s; see why with: tandem sweep trials %s", s.GetReason(), j.GetSpec().GetMetric(), j.GetId())
	}
	found := fmt.Sprintf("%s Trial %d is the best of %d, with %s %.6g.", s.GetReason(), best.GetNumber(), s.GetMade(), j.GetSpec().GetMetric(), s.GetBestValue())
	source := best.GetBestCheckpointId()
	switch {
	case s.GetFailed() && source != "":
		return tandemv1.JobState_JOB_STATE_FAILED, found + " To publish it all the same: tandem model publish " + source + " --name MODEL"
	case s.GetFailed():
		return tandemv1.JobState_JOB_STATE_FAILED, found
	case j.GetSpec().GetPublish() == nil:
		return tandemv1.JobState_JOB_STATE_COMPLETED, found
	case source == "":
		a.jobEvent(warning, j, "publishes nothing, for its best trial has no checkpoint")
		return tandemv1.JobState_JOB_STATE_COMPLETED, found + " Nothing was published, for it has no checkpoint."
	}
	p, there := a.Trial(state.PublisherID(best.GetId()))
	if !there {
		p = &tandemv1.Trial{
			Id: state.PublisherID(best.GetId()), JobId: j.GetId(), StartCheckpointId: source, CreatedAt: a.now,
			State: tandemv1.TrialState_TRIAL_STATE_PENDING, Stage: tandemv1.TrialStage_TRIAL_STAGE_PUBLISH,
			Reason: fmt.Sprintf("Waits to publish trial %d.", best.GetNumber()),
		}
		a.Put(p)
		a.jobEvent(info, j, "waits to publish the best checkpoint of trial %d, its best", best.GetNumber())
	}
	switch p.GetState() {
	case tandemv1.TrialState_TRIAL_STATE_RUNNING:
		return tandemv1.JobState_JOB_STATE_RUNNING, fmt.Sprintf("%s It is being published.", found)
	case tandemv1.TrialState_TRIAL_STATE_COMPLETED:
		return tandemv1.JobState_JOB_STATE_COMPLETED, found + " " + p.GetReason()
	case tandemv1.TrialState_TRIAL_STATE_FAILED, tandemv1.TrialState_TRIAL_STATE_CANCELLED:
		return tandemv1.JobState_JOB_STATE_FAILED, found + " It could not be published: " + p.GetReason()
	}
	return tandemv1.JobState_JOB_STATE_PENDING, p.GetReason()
}
