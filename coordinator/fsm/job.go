package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// defaultMaxRestarts holds for specs that say nothing.
const defaultMaxRestarts = 3

func (a *applier) createJob(c *tandemv1.CreateJob) *tandemv1.Result {
	if c.GetJob().GetKind() == tandemv1.JobKind_JOB_KIND_SWEEP {
		return a.createSweep(c)
	}
	if r := a.checkJob(c); r != nil {
		return r
	}
	j, t := a.newJob(c.GetJob(), "Waits to be placed."), state.Clone(c.GetTrial())
	j.TrialIds = []string{t.GetId()}
	t.JobId = j.GetId()
	t.State = tandemv1.TrialState_TRIAL_STATE_PENDING
	t.Stage = tandemv1.TrialStage_TRIAL_STAGE_TRAIN
	if j.GetKind() == tandemv1.JobKind_JOB_KIND_PUBLISH {
		t.Stage = tandemv1.TrialStage_TRIAL_STAGE_PUBLISH
	}
	t.Reason = j.GetReason()
	t.CreatedAt = a.now
	a.Put(j)
	a.Put(t)
	a.jobEvent(info, j, "was submitted by %s", j.GetSubmittedBy())
	return done(j.GetId())
}

// newJob is a job as it begins.
func (a *applier) newJob(given *tandemv1.Job, reason string) *tandemv1.Job {
	j := state.Clone(given)
	j.State = tandemv1.JobState_JOB_STATE_PENDING
	j.Intent = tandemv1.JobIntent_JOB_INTENT_RUN
	j.Reason = reason
	j.TrialIds = nil
	j.CreatedAt = a.now
	if j.GetSubmittedBy() == "" {
		j.SubmittedBy = a.actor
	}
	return j
}

func (a *applier) checkJob(c *tandemv1.CreateJob) *tandemv1.Result {
	j, t := c.GetJob(), c.GetTrial()
	if j.GetId() == "" || t.GetId() == "" {
		return refuse(invalid, "a job and its trial need ids")
	}
	if _, ok := a.Job(j.GetId()); ok {
		return refuse(exists, "job %s is there already; submit with a new id", j.GetId())
	}
	if _, ok := a.Trial(t.GetId()); ok {
		return refuse(exists, "trial %s is there already; submit with a new id", t.GetId())
	}
	spec := j.GetSpec()
	switch j.GetKind() {
	case tandemv1.JobKind_JOB_KIND_TRAIN:
		return a.checkTraining(spec)
	case tandemv1.JobKind_JOB_KIND_PUBLISH:
		if spec.GetPublish().GetModel() == "" {
			return refuse(invalid, "a job of kind publish needs the name of a model")
		}
		return a.checkSource(spec.GetPublish().GetCheckpointId())
	case tandemv1.JobKind_JOB_KIND_REPLAY:
		if spec.GetReplay().GetSteps() < 1 {
			return refuse(invalid, "a job of kind replay needs a number of steps")
		}
		if r := a.checkSource(spec.GetReplay().GetCheckpointId()); r != nil {
			return r
		}
		return a.checkTraining(spec)
	}
	return refuse(invalid, "a job needs a kind: train, publish, replay or sweep")
}

func (a *applier) checkTraining(spec *tandemv1.JobSpec) *tandemv1.Result {
	if _, ok := a.Dataset(spec.GetDatasetId()); !ok {
		return refuse(notFound, "dataset %q is not there; see what is with: tandem dataset list", spec.GetDataset())
	}
	if spec.GetResources().GetWorkers() < 1 {
		return refuse(invalid, "a job needs at least one worker")
	}
	return nil
}

// checkSource checks the checkpoint that a job begins from.
func (a *applier) checkSource(id string) *tandemv1.Result {
	if ckpt, ok := a.Checkpoint(id); !ok || ckpt.GetDeleting() {
		return refuse(notFound, "checkpoint %q is not there; see what is with: tandem checkpoint list", id)
	}
	return nil
}

func (a *applier) setJobIntent(c *tandemv1.SetJobIntent) *tandemv1.Result {
	j, ok := a.Job(c.GetJobId())
	if !ok {
		return refuse(notFound, "job %q is not there; see what is with: tandem list", c.GetJobId())
	}
	if state.JobFinal(j.GetState()) {
		if j.GetState() == tandemv1.JobState_JOB_STATE_CANCELLED && c.GetIntent() == tandemv1.JobIntent_JOB_INTENT_CANCEL {
			return done(j.GetId())
		}
		return refuse(precondition, "job %s has ended (%s) and cannot be changed; submit it again to go on", label(j), stateWord(j.GetState()))
	}
	switch c.GetIntent() {
	case tandemv1.JobIntent_JOB_INTENT_CANCEL:
		return a.cancelJob(j)
	case tandemv1.JobIntent_JOB_INTENT_PAUSE:
		return a.pauseJob(j)
	case tandemv1.JobIntent_JOB_INTENT_RUN:
		return a.resumeJob(j)
	}
	return refuse(invalid, "say what is wanted of the job: run, pause or cancel")
}

func (a *applier) cancelJob(j *tandemv1.Job) *tandemv1.Result {
	j = a.setIntent(j, tandemv1.JobIntent_JOB_INTENT_CANCEL)
	for _, t := range a.TrialsOf(j.GetId()) {
		if !state.TrialFinal(t.GetState()) {
			a.put(t, true, a.final(tandemv1.TrialState_TRIAL_STATE_CANCELLED, "Cancelled by "+a.who()+"."))
		}
	}
	a.followTrials(j.GetId())
	return done(j.GetId())
}

func (a *applier) pauseJob(j *tandemv1.Job) *tandemv1.Result {
	trials := a.TrialsOf(j.GetId())
	for _, t := range trials {
		if t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING && t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
			return refuse(precondition, "job %s is publishing its version, which takes seconds and cannot be paused; wait, or cancel it", label(j))
		}
	}
	if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE {
		return done(j.GetId())
	}
	j = a.setIntent(j, tandemv1.JobIntent_JOB_INTENT_PAUSE)
	for _, t := range trials {
		switch t.GetState() {
		case tandemv1.TrialState_TRIAL_STATE_PENDING:
			a.put(t, true, to(tandemv1.TrialState_TRIAL_STATE_PAUSED, "Paused by "+a.who()+"."))
		case tandemv1.TrialState_TRIAL_STATE_RUNNING:
			alloc, ok := a.Allocation(t.GetAllocationId())
			if ok && !alloc.GetStopping() {
				alloc = state.Clone(alloc)
				alloc.Stopping = true
				a.Put(alloc)
			}
			a.put(t, false, because("Stops with a checkpoint, as "+a.who()+" asked."))
			a.trialEvent(info, j, t, "stops with a checkpoint, as %s asked", a.who())
		}
	}
	a.followTrials(j.GetId())
	return done(j.GetId())
}

func (a *applier) resumeJob(j *tandemv1.Job) *tandemv1.Result {
	if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_RUN {
		return done(j.GetId())
	}
	j = a.setIntent(j, tandemv1.JobIntent_JOB_INTENT_RUN)
	a.jobEvent(info, j, "was resumed by %s", a.who())
	for _, t := range a.TrialsOf(j.GetId()) {
		switch t.GetState() {
		case tandemv1.TrialState_TRIAL_STATE_PAUSED:
			if !t.GetReached() { // else it waits for the search
				a.put(t, true, to(tandemv1.TrialState_TRIAL_STATE_PENDING, "Waits to be placed again."))
			}
		case tandemv1.TrialState_TRIAL_STATE_RUNNING:
			// Its engines may be stopping already; when they have stopped it is queued again.
			a.put(t, false, because("Goes on as soon as it has stopped."))
		}
	}
	a.followTrials(j.GetId())
	return done(j.GetId())
}

func (a *applier) setIntent(j *tandemv1.Job, intent tandemv1.JobIntent) *tandemv1.Job {
	j = state.Clone(j)
	j.Intent = intent
	a.Put(j)
	return j
}

// scaleJob changes how many workers a job should have. What follows from it the leader decides.
func (a *applier) scaleJob(c *tandemv1.ScaleJob) *tandemv1.Result {
	j, ok := a.Job(c.GetJobId())
	if !ok {
		return refuse(notFound, "job %q is not there; see what is with: tandem list", c.GetJobId())
	}
	workers := state.WorkersOf(j)
	switch n := int(c.GetWorkers()); {
	case state.JobFinal(j.GetState()):
		return refuse(precondition, "job %s has ended (%s) and cannot be changed; submit it again to go on", label(j), stateWord(j.GetState()))
	case j.GetKind() == tandemv1.JobKind_JOB_KIND_PUBLISH:
		return refuse(precondition, "job %s publishes and has one worker", label(j))
	case n < workers.Min || n > workers.Max:
		return refuse(invalid, "job %s may have %d to %d workers (resources.min and resources.max of its spec), not %d", label(j), workers.Min, workers.Max, n)
	case n == workers.Wanted:
		return done(j.GetId())
	}
	j = state.Clone(j)
	j.Workers = c.GetWorkers()
	a.Put(j)
	a.jobEvent(info, j, "should have %s, as %s asked", count(int(c.GetWorkers()), "worker"), a.who())
	return done(j.GetId())
}

// who names the actor for people.
func (a *applier) who() string {
	if a.actor == "" {
		return "a user"
	}
	return a.actor
}

// followTrials brings a job to the state and reason that its trials give it. Every change of a trial ends with it.
func (a *applier) followTrials(jobID string) {
	old, ok := a.Job(jobID)
	if !ok || a.halved {
		return
	}
	if old.GetKind() == tandemv1.JobKind_JOB_KIND_SWEEP {
		a.followSweep(old)
		return
	}
	next, reason := jobState(a.TrialsOf(jobID))
	a.setJobState(old, next, reason)
}

// setJobState brings a job to a state and a reason, if they are other ones.
func (a *applier) setJobState(old *tandemv1.Job, to tandemv1.JobState, reason string) {
	if to == old.GetState() && reason == old.GetReason() {
		return
	}
	j := state.Shallow(old)
	j.State, j.Reason = to, reason
	if j.GetState() == tandemv1.JobState_JOB_STATE_RUNNING && j.GetStartedAt() == nil {
		j.StartedAt = a.now
	}
	if state.JobFinal(j.GetState()) {
		j.FinishedAt = a.now
	}
	a.Put(j)
	if j.GetState() == old.GetState() {
		return
	}
	switch j.GetState() {
	case tandemv1.JobState_JOB_STATE_COMPLETED:
		a.jobEvent(info, j, "is completed")
	case tandemv1.JobState_JOB_STATE_FAILED:
		a.event(warning, "job", j.GetId(), j.GetId(), "Job %s failed: %s", label(j), j.GetReason())
	case tandemv1.JobState_JOB_STATE_CANCELLED:
		a.jobEvent(info, j, "was cancelled by %s", a.who())
	case tandemv1.JobState_JOB_STATE_PAUSED:
		a.jobEvent(info, j, "is paused")
	}
}

// jobState derives a job's state: running if any trial runs, else pending if any waits, else paused if any is, else
// failed if any failed, else cancelled if any was, else completed. The reason is that of the first such trial.
func jobState(trials []*tandemv1.Trial) (tandemv1.JobState, string) {
	order := []struct {
		trial tandemv1.TrialState
		job   tandemv1.JobState
	}{
		{tandemv1.TrialState_TRIAL_STATE_RUNNING, tandemv1.JobState_JOB_STATE_RUNNING},
		{tandemv1.TrialState_TRIAL_STATE_PENDING, tandemv1.JobState_JOB_STATE_PENDING},
		{tandemv1.TrialState_TRIAL_STATE_PAUSED, tandemv1.JobState_JOB_STATE_PAUSED},
		{tandemv1.TrialState_TRIAL_STATE_FAILED, tandemv1.JobState_JOB_STATE_FAILED},
		{tandemv1.TrialState_TRIAL_STATE_CANCELLED, tandemv1.JobState_JOB_STATE_CANCELLED},
		{tandemv1.TrialState_TRIAL_STATE_COMPLETED, tandemv1.JobState_JOB_STATE_COMPLETED},
	}
	for _, o := range order {
		for _, t := range trials {
			if t.GetState() == o.trial {
				return o.job, t.GetReason()
			}
		}
	}
	return tandemv1.JobState_JOB_STATE_PENDING, ""
}

// stateWord is the state as people read it.
func stateWord(s tandemv1.JobState) string {
	switch s {
	case tandemv1.JobState_JOB_STATE_COMPLETED:
		return "completed"
	case tandemv1.JobState_JOB_STATE_FAILED:
		return "failed"
	case tandemv1.JobState_JOB_STATE_CANCELLED:
		return "cancelled"
	}
	return "not ended"
}
