package state

import (
	"slices"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ResolvePredecessors finds the jobs that have to be completed before another, each once, by references as of ResolveJob. An error is that
// of the reference at wrong.
func ResolvePredecessors(v *View, refs []string) (all []*tandemv1.Predecessor, wrong int, err error) {
	for i, ref := range refs {
		j, err := v.ResolveJob(ref)
		if err != nil {
			return nil, i, err
		}
		p := &tandemv1.Predecessor{JobId: j.GetId(), Name: j.GetName(), Completed: j.GetState() == tandemv1.JobState_JOB_STATE_COMPLETED}
		if !slices.ContainsFunc(all, func(o *tandemv1.Predecessor) bool { return o.GetJobId() == p.GetJobId() }) {
			all = append(all, p)
		}
	}
	return all, 0, nil
}

// WaitsForJobs says for which jobs a job waits, before it waits for slots; nil: for none.
func WaitsForJobs(j *tandemv1.Job) *tandemv1.Reason {
	var names []string
	for _, p := range j.GetAfter() {
		if !p.GetCompleted() {
			names = append(names, p.GetName())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return NewReason(tandemv1.Reason_CODE_WAITS_FOR_JOBS, "jobs", strings.Join(names, ", "), "count", len(names))
}

// Successors are the jobs that wait for one to be completed, by id.
func Successors(v *View, job string) []*tandemv1.Job {
	return list[*tandemv1.Job](v, jobTable, "after", job)
}

// awaited is where a job that has not ended is found by the jobs that it waits for.
func awaited(j *tandemv1.Job) (ids []string) {
	for _, p := range j.GetAfter() {
		if !p.GetCompleted() && !JobFinal(j.GetState()) {
			ids = append(ids, p.GetJobId())
		}
	}
	return ids
}
