package fsm

import (
	"cmp"
	"maps"
	"slices"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// defaultMaxRestarts holds for specs that say nothing.
const defaultMaxRestarts = 3

func (a *applier) createJob(c *tandemv1.CreateJob) (*tandemv1.Result, *refusal) {
	if kind.Of(c.GetJob()).Searches {
		return a.createSweep(c)
	}
	if r := a.checkJob(c); r != nil {
		return nil, r
	}
	j, t := a.newJob(c.GetJob(), nil), state.Clone(c.GetTrial())
	j.Why = waiting(j, false)
	j.TrialIds = []string{t.GetId()}
	t.JobId = j.GetId()
	t.State = tandemv1.TrialState_TRIAL_STATE_PENDING
	t.Stage = kind.Of(j).First
	t.Why, t.Reason = j.GetWhy(), ""
	t.CreatedAt = a.now
	a.Put(j)
	a.Put(t)
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_SUBMITTED, j, nil, "by", j.GetSubmittedBy())
	return done(j.GetId()), nil
}

// newJob is a job as it begins.
func (a sight) newJob(given *tandemv1.Job, why *tandemv1.Reason) *tandemv1.Job {
	j := state.Clone(given)
	j.State = tandemv1.JobState_JOB_STATE_PENDING
	j.Intent = tandemv1.JobIntent_JOB_INTENT_RUN
	j.Why, j.Reason = why, ""
	j.TrialIds = nil
	j.Project, _ = projectFor(a, given.GetProject()) // checked
	j.After, _ = predecessors(a, given)
	j.Labels = maps.Clone(given.GetSpec().GetLabels())
	j.CreatedAt = a.now
	if j.GetSubmittedBy() == "" {
		j.SubmittedBy = a.actor
	}
	return j
}

func (a sight) checkJob(c *tandemv1.CreateJob) *refusal {
	j, t := c.GetJob(), c.GetTrial()
	if field := missing("id", j.GetId(), "trial.id", t.GetId()); field != "" {
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "job", "field", field)
	}
	if _, ok := a.Job(j.GetId()); ok {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "job", "name", j.GetId())
	}
	if _, ok := a.Trial(t.GetId()); ok {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "trial", "name", t.GetId())
	}
	if _, no := projectFor(a, j.GetProject()); no != nil {
		return no
	}
	if _, no := predecessors(a, j); no != nil {
		return no
	}
	spec, is := j.GetSpec(), kind.Of(j)
	if field := is.Missing(spec); field != "" {
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "job", "field", field)
	}
	if is.Source != nil {
		if r := a.checkSource(is.Source(spec), !is.Trains); r != nil {
			return r
		}
	}
	if is.Trains {
		return a.checkTraining(spec)
	}
	return nil
}

func (a sight) checkTraining(spec *tandemv1.JobSpec) *refusal {
	if _, ok := a.Dataset(spec.GetDatasetId()); !ok {
		return refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "dataset", "name", spec.GetDataset())
	}
	if spec.GetResources().GetWorkers() < 1 {
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "job", "field", "resources.workers")
	}
	return nil
}

// checkSource checks the checkpoint that a job begins from, and where data is set, whether the dataset is known that it was trained on.
func (a sight) checkSource(id string, data bool) *refusal {
	c, ok := a.Checkpoint(id)
	if !ok || c.GetDeleting() {
		return refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "checkpoint", "name", id)
	}
	if _, known := state.TrainedOn(a.View, c); data && !known {
		return refuse(codePrecondition, tandemv1.Reason_CODE_DATASET_OF_CHECKPOINT_GONE, "checkpoint", id)
	}
	return nil
}

func (a *applier) setJobIntent(c *tandemv1.SetJobIntent) (*tandemv1.Result, *refusal) {
	j, no := openJob(a.sight, c.GetJobId())
	switch cancel := c.GetIntent() == tandemv1.JobIntent_JOB_INTENT_CANCEL; {
	case cancel && j.GetState() == tandemv1.JobState_JOB_STATE_CANCELLED:
		return done(j.GetId()), nil
	case no != nil:
		return nil, no
	}
	switch c.GetIntent() {
	case tandemv1.JobIntent_JOB_INTENT_CANCEL:
		return a.cancelJob(j)
	case tandemv1.JobIntent_JOB_INTENT_PAUSE:
		return a.pauseJob(j)
	case tandemv1.JobIntent_JOB_INTENT_RUN:
		return a.resumeJob(j)
	}
	return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "job", "field", "intent")
}

func (a *applier) cancelJob(j *tandemv1.Job) (*tandemv1.Result, *refusal) {
	a.setIntent(j.GetId(), tandemv1.JobIntent_JOB_INTENT_CANCEL)
	for _, t := range a.TrialsOf(j.GetId()) {
		if !state.TrialFinal(t.GetState()) {
			a.release(t.GetId(), a.final(tandemv1.TrialState_TRIAL_STATE_CANCELLED, reason(tandemv1.Reason_CODE_CANCELLED, "by", a.actor)))
		}
	}
	return done(j.GetId()), nil
}

func (a *applier) pauseJob(j *tandemv1.Job) (*tandemv1.Result, *refusal) {
	trials := a.TrialsOf(j.GetId())
	for _, t := range trials {
		if t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING && !kind.StageOf(t).Resumes {
			return nil, refuse(codePrecondition, tandemv1.Reason_CODE_JOB_PUBLISHING, "name", label(j))
		}
	}
	if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE {
		return done(j.GetId()), nil
	}
	a.setIntent(j.GetId(), tandemv1.JobIntent_JOB_INTENT_PAUSE)
	for _, t := range trials {
		switch t.GetState() {
		case tandemv1.TrialState_TRIAL_STATE_PENDING:
			a.pauseTrial(t.GetId(), reason(tandemv1.Reason_CODE_PAUSED, "by", a.actor, "job", j.GetId()))
		case tandemv1.TrialState_TRIAL_STATE_RUNNING:
			if alloc, ok := a.Allocation(t.GetAllocationId()); ok && !alloc.GetStopping() {
				edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) { alloc.Stopping = true })
			}
			edit(a, a.Trial, t.GetId(), because(reason(tandemv1.Reason_CODE_STOPPING, "by", a.actor)))
			a.trialEvent(infoLevel, tandemv1.Event_TYPE_JOB_PAUSING, j, t, nil, "by", a.actor)
		}
	}
	return done(j.GetId()), nil
}

func (a *applier) resumeJob(j *tandemv1.Job) (*tandemv1.Result, *refusal) {
	if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_RUN {
		return done(j.GetId()), nil
	}
	a.setIntent(j.GetId(), tandemv1.JobIntent_JOB_INTENT_RUN)
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_RESUMED, j, nil, "by", a.actor)
	for _, t := range a.TrialsOf(j.GetId()) {
		switch t.GetState() {
		case tandemv1.TrialState_TRIAL_STATE_PAUSED:
			if !t.GetReached() { // else it waits for the search
				a.queueTrial(t.GetId(), waiting(j, true))
			}
		case tandemv1.TrialState_TRIAL_STATE_RUNNING:
			// Its engines may be stopping already; when they have stopped it is queued again.
			edit(a, a.Trial, t.GetId(), because(reason(tandemv1.Reason_CODE_RESUMES_WHEN_STOPPED)))
		}
	}
	return done(j.GetId()), nil
}

func (a *applier) setIntent(id string, intent tandemv1.JobIntent) {
	edit(a, a.Job, id, func(j *tandemv1.Job) { j.Intent = intent })
	a.follow(id)
}

// openJob is a job that has not ended.
func openJob(a sight, id string) (*tandemv1.Job, *refusal) {
	j, ok := a.Job(id)
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "job", "name", id)
	case state.JobFinal(j.GetState()):
		return j, refuse(codePrecondition, tandemv1.Reason_CODE_JOB_ENDED, "noun", "job", "name", label(j), "state", state.EndWord(j.GetState()))
	}
	return j, nil
}

// updateJob changes where a job stands in which queue, and what people say of it, also when it has ended. What follows the leader decides.
func updateJob(a *applier, c *tandemv1.UpdateJob) (*tandemv1.Result, *refusal) {
	j, no := openJob(a.sight, c.GetJobId())
	if queue := c.Priority != nil || c.Pool != nil; no != nil && (j == nil || queue) {
		return nil, no
	}
	labels := state.Labelled(j.GetLabels(), c.GetLabels())
	if len(labels) > state.MaxLabels {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_TOO_MANY_LABELS, "noun", "job", "name", label(j), "most", state.MaxLabels)
	}
	next := &tandemv1.Job{Spec: j.GetSpec(), Priority: cmp.Or(c.Priority, j.Priority), Pool: cmp.Or(c.Pool, j.Pool)}
	moves, holds := state.PoolOf(next) != state.PoolOf(j), func(t *tandemv1.Trial) bool { return t.GetAllocationId() != "" }
	if moves && slices.ContainsFunc(a.TrialsOf(j.GetId()), holds) {
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_JOB_HOLDS_SLOTS, "name", label(j), "job", j.GetId(),
			"pool", state.PoolOf(j))
	}
	if moves || state.PriorityOf(next) != state.PriorityOf(j) {
		edit(a, a.Job, j.GetId(), func(j *tandemv1.Job) { j.Priority, j.Pool = next.Priority, next.Pool })
		args := []any{"priority", state.PriorityOf(next), "pool", state.PoolOf(next), "by", a.actor}
		a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_UPDATED, j, nil, args...)
	}
	note := j.GetNote()
	if c.Note != nil {
		note = c.GetNote()
	}
	if note != j.GetNote() || !maps.Equal(labels, j.GetLabels()) {
		edit(a, a.Job, j.GetId(), func(j *tandemv1.Job) { j.Labels, j.Note = labels, note })
		a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_LABELLED, j, nil, "labels", state.LabelText(labels), "note", note, "by", a.actor)
	}
	return done(j.GetId()), nil
}

// scaleJob changes how many workers a job should have. What follows from it the leader decides.
func (a *applier) scaleJob(c *tandemv1.ScaleJob) (*tandemv1.Result, *refusal) {
	j, no := openJob(a.sight, c.GetJobId())
	if no != nil {
		return nil, no
	}
	workers := state.WorkersOf(j)
	switch n := int(c.GetWorkers()); {
	case !kind.Of(j).Scales:
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_JOB_ONE_WORKER, "name", label(j))
	case n < workers.Min || n > workers.Max:
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_WORKERS_OUT_OF_RANGE, "name", label(j), "min", workers.Min, "max", workers.Max, "given", n)
	case n == workers.Wanted:
		return done(j.GetId()), nil
	}
	edit(a, a.Job, j.GetId(), func(j *tandemv1.Job) { j.Workers = c.GetWorkers() })
	a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_SCALED, j, nil, "workers", c.GetWorkers(), "by", a.actor)
	return done(j.GetId()), nil
}

// followTrials brings a job to the state and reason that its trials give it.
func (a *applier) followTrials(jobID string) {
	old, ok := a.Job(jobID)
	if !ok {
		return
	}
	if kind.Of(old).Searches {
		a.followSweep(old)
		return
	}
	next, why := state.StateOfTrials(a.TrialsOf(jobID))
	a.setJobState(old, next, why)
}

// setJobState brings a job to a state and a reason, if they are other ones.
func (a *applier) setJobState(old *tandemv1.Job, to tandemv1.JobState, why *tandemv1.Reason) {
	if to == old.GetState() && sameReason(why, given(old.GetWhy(), old.GetReason())) {
		return
	}
	j := edit(a, a.Job, old.GetId(), func(j *tandemv1.Job) {
		j.State, j.Why, j.Reason = to, why, ""
		if to == tandemv1.JobState_JOB_STATE_RUNNING && j.GetStartedAt() == nil {
			j.StartedAt = a.now
		}
		if state.JobFinal(to) {
			j.FinishedAt = a.now
		}
	})
	if j.GetState() == old.GetState() {
		return
	}
	switch j.GetState() {
	case tandemv1.JobState_JOB_STATE_COMPLETED:
		a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_COMPLETED, j, nil)
	case tandemv1.JobState_JOB_STATE_FAILED:
		a.jobEvent(warningLevel, tandemv1.Event_TYPE_JOB_FAILED, j, why)
	case tandemv1.JobState_JOB_STATE_CANCELLED:
		a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_CANCELLED, j, nil, "by", a.actor)
	case tandemv1.JobState_JOB_STATE_PAUSED:
		a.jobEvent(infoLevel, tandemv1.Event_TYPE_JOB_PAUSED, j, nil)
	}
	if state.JobFinal(j.GetState()) {
		advance(a, j)
	}
}
