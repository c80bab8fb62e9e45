package state

import (
	"fmt"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Job returns a job.
func (v *View) Job(id string) (*tandemv1.Job, bool) { return get[*tandemv1.Job](v, jobTable, id) }

// Jobs returns all jobs, oldest first.
func (v *View) Jobs() []*tandemv1.Job {
	return list[*tandemv1.Job](v, jobTable, "created_prefix", "")
}

// ResolveJob finds a job by id, by name (the newest so named), or by a unique prefix of an id.
// It fails with ErrNotFound or ErrAmbiguous.
func (v *View) ResolveJob(ref string) (*tandemv1.Job, error) {
	return resolve(v, jobTable, "job", "job-", ref, func(name string) []*tandemv1.Job {
		rows := list[*tandemv1.Job](v, jobTable, "name", name)
		sortByCreation(rows)
		return rows
	})
}

// ResolveSweep finds the job of a sweep by its id, a unique prefix of one, or the name of the newest sweep so named: a job that trains
// may have the same name.
func (v *View) ResolveSweep(ref string) (*tandemv1.Job, error) {
	job, err := resolve(v, jobTable, "sweep", "job-", ref, func(name string) []*tandemv1.Job {
		rows := slices.DeleteFunc(list[*tandemv1.Job](v, jobTable, "name", name), func(j *tandemv1.Job) bool {
			return j.GetKind() != tandemv1.JobKind_JOB_KIND_SWEEP
		})
		sortByCreation(rows)
		return rows
	})
	if err == nil && job.GetKind() != tandemv1.JobKind_JOB_KIND_SWEEP {
		return nil, fmt.Errorf("job %s is no sweep: %w", job.GetId(), ErrNotFound)
	}
	return job, err
}

// JobNeed says why a job cannot be deleted; nil when it has ended and nothing needs its checkpoints.
func (v *View) JobNeed(j *tandemv1.Job) *tandemv1.Reason {
	trials := v.TrialsOf(j.GetId())
	if !JobFinal(j.GetState()) || slices.ContainsFunc(trials, func(t *tandemv1.Trial) bool { return !TrialFinal(t.GetState()) }) {
		return reason(tandemv1.Reason_CODE_JOB_NOT_ENDED, "job", j.GetId())
	}
	for _, t := range trials {
		for _, c := range v.CheckpointsOf(t.GetId()) {
			if need := v.CheckpointNeed(c); need != nil {
				needed := reasonFrom(need, tandemv1.Reason_CODE_CHECKPOINT_NEEDED, "checkpoint", c.GetId())
				return reasonFrom(needed, tandemv1.Reason_CODE_JOB_NEEDED, "job", j.GetId())
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
