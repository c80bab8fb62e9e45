package state

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tandem.dev/proto/kind"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Job returns a job.
func (v *View) Job(id string) (*tandemv1.Job, bool) { return get[*tandemv1.Job](v, jobTable, id) }

// Jobs returns all jobs, oldest first.
func (v *View) Jobs() []*tandemv1.Job {
	return list[*tandemv1.Job](v, jobTable, "created_prefix", "")
}

// JobPage is the place of a job in the order of Jobs, as text that is compared.
func JobPage(j *tandemv1.Job) string { return timeKey(j.GetCreatedAt()) + "/" + j.GetId() }

// ResolveJob finds a job to look at: by id, by name, or by a unique prefix of an id. Of several of one name it is the newest that has not
// ended, else the newest. It fails with Unresolved.
func (v *View) ResolveJob(ref string) (*tandemv1.Job, error) { return v.resolveJob("job", ref, false) }

// ResolveJobToChange finds a job that is to be changed: as ResolveJob, but of several of one name it is the only one that has not ended;
// where more have not, or all have, it fails and lists them.
func (v *View) ResolveJobToChange(ref string) (*tandemv1.Job, error) {
	return v.resolveJob("job", ref, true)
}

// ResolveSweep is ResolveJob for the job of a sweep: a job that trains may have the same name.
func (v *View) ResolveSweep(ref string) (*tandemv1.Job, error) {
	return v.resolveJob("sweep", ref, false)
}

// ResolveSweepToChange is ResolveJobToChange for the job of a sweep.
func (v *View) ResolveSweepToChange(ref string) (*tandemv1.Job, error) {
	return v.resolveJob("sweep", ref, true)
}

// JobsNamed returns the jobs of a name, oldest first.
func (v *View) JobsNamed(name string) []*tandemv1.Job {
	rows := list[*tandemv1.Job](v, jobTable, "name", v.key(name))
	sortByCreation(rows)
	return rows
}

func (v *View) resolveJob(noun, ref string, change bool) (*tandemv1.Job, error) {
	other := func(j *tandemv1.Job) bool { return noun == "sweep" && !kind.Of(j).Searches }
	named := v.JobsNamed(ref)
	_, known := v.Job(ref)
	if rows := slices.DeleteFunc(slices.Clone(named), other); len(rows) > 0 && !known {
		return chosen(noun, ref, rows, change)
	}
	job, err := resolve(v, jobTable, noun, "job-", ref, func(string) []*tandemv1.Job { return named })
	switch why := (*Unresolved)(nil); {
	case errors.As(err, &why) && errors.Is(err, ErrNotFound):
		return nil, missing(noun, ref, near(ref, slices.DeleteFunc(v.Jobs(), other)))
	case err == nil && other(job):
		return nil, &Unresolved{NewReason(tandemv1.Reason_CODE_NOT_A_SWEEP, "job", job.GetId(), "name", job.GetName(), "kind", plain.Word(job.GetKind())), ErrNotFound}
	}
	return job, err
}

// PriorityOf is the priority that a job has now.
func PriorityOf(j *tandemv1.Job) int32 {
	if j.Priority != nil {
		return j.GetPriority()
	}
	return j.GetSpec().GetPriority()
}

// PoolOf is the pool that a job is in now.
func PoolOf(j *tandemv1.Job) string {
	if j.Pool != nil {
		return j.GetPool()
	}
	return j.GetSpec().GetResources().GetPool()
}

// JobNeed says why a job cannot be deleted; nil when it has ended and nothing needs its checkpoints.
func (v *View) JobNeed(j *tandemv1.Job) *tandemv1.Reason {
	trials := v.TrialsOf(j.GetId())
	if !JobFinal(j.GetState()) || slices.ContainsFunc(trials, func(t *tandemv1.Trial) bool { return !TrialFinal(t.GetState()) }) {
		return NewReason(tandemv1.Reason_CODE_JOB_NOT_ENDED, "job", j.GetId())
	}
	for _, t := range trials {
		for _, c := range v.CheckpointsOf(t.GetId()) {
			if need := v.CheckpointNeed(c); need != nil {
				needed := NewReasonFrom(need, tandemv1.Reason_CODE_CHECKPOINT_NEEDED, "checkpoint", c.GetId())
				return NewReasonFrom(needed, tandemv1.Reason_CODE_JOB_NEEDED, "job", j.GetId())
			}
		}
	}
	return nil
}

// sourceOf is where a job that has not ended is found by the checkpoint that its spec names.
func sourceOf(j *tandemv1.Job) []string {
	if JobFinal(j.GetState()) {
		return nil
	}
	return []string{j.GetSpec().GetPublish().GetCheckpointId(), j.GetSpec().GetReplay().GetCheckpointId()}
}

// chosen is the job that a name stands for, of all that have it, oldest first.
func chosen(noun, name string, rows []*tandemv1.Job, change bool) (*tandemv1.Job, error) {
	going := slices.DeleteFunc(slices.Clone(rows), func(j *tandemv1.Job) bool { return JobFinal(j.GetState()) })
	if len(going) > 0 {
		rows = going
	}
	if len(rows) == 1 || !change {
		return rows[len(rows)-1], nil
	}
	var all []string
	for _, j := range slices.Backward(rows) {
		all = append(all, fmt.Sprintf("%s (%s, submitted %s)", j.GetId(), plain.Word(j.GetState()), j.GetCreatedAt().AsTime().Format(time.RFC3339)))
	}
	return nil, ambiguous(noun, name, all)
}

// JobFinal says whether a job has reached a state it does not leave.
func JobFinal(s tandemv1.JobState) bool {
	return s == tandemv1.JobState_JOB_STATE_COMPLETED || s == tandemv1.JobState_JOB_STATE_FAILED ||
		s == tandemv1.JobState_JOB_STATE_CANCELLED
}

// Workers are the numbers of workers of a job: the fewest it goes on with, those it should have, and the most it may have.
type Workers struct{ Min, Wanted, Max int }

// WorkersOf returns the numbers of workers of a job that trains.
func WorkersOf(j *tandemv1.Job) Workers {
	r := j.GetSpec().GetResources()
	w := Workers{int(r.GetMin()), int(j.GetWorkers()), int(r.GetMax())}
	if w.Min == 0 {
		w.Min = int(r.GetWorkers())
	}
	if w.Wanted == 0 {
		w.Wanted = int(r.GetWorkers())
	}
	if w.Max == 0 {
		w.Max = int(r.GetWorkers())
	}
	return w
}

// JobsByID returns all jobs by id.
func (v *View) JobsByID() []*tandemv1.Job { return all[*tandemv1.Job](v, jobTable) }

// CopyJob returns a copy of a row, to change and put. Its spec, which nobody changes, is shared with the row.
func CopyJob(j *tandemv1.Job) *tandemv1.Job {
	c := Shallow(j)
	c.TrialIds = slices.Clone(j.GetTrialIds())
	c.AliasesKept = slices.Clone(j.GetAliasesKept())
	c.After = slices.Clone(j.GetAfter())
	return c
}

// StateOfTrials derives a job's state: running if any trial runs, else pending if any waits, else paused if any is, else
// failed if any failed, else cancelled if any was, else completed. The reason is that of the first such trial.
func StateOfTrials(trials []*tandemv1.Trial) (tandemv1.JobState, *tandemv1.Reason) {
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
				return o.job, Given(t.GetWhy(), t.GetReason())
			}
		}
	}
	return tandemv1.JobState_JOB_STATE_PENDING, nil
}

// EndWord is a final state as an argument.
func EndWord(s tandemv1.JobState) string {
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
