package fsm

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
)

// removed counts what went with jobs.
type removed struct {
	jobs, trials, checkpoints int
	bytes                     int64 // of the checkpoints
}

// deleteJobs deletes each job that can be, and refuses the whole command when none can. One that is gone was deleted before.
func (a *applier) deleteJobs(c *tandemv1.DeleteJobs) (*tandemv1.Result, *refusal) {
	if c.GetLogsOnly() {
		return deleteLogs(a, c), nil
	}
	result := &tandemv1.Result{}
	var gone removed
	var first *refusal
	for _, id := range c.GetJobIds() {
		var no *refusal
		if j, ok := a.Job(id); ok {
			if no = a.checkDelete(j, c); no == nil {
				a.deleteJob(j, &gone)
				if c.GetFinishedBefore() == nil {
					a.record(infoLevel, tandemv1.Event_TYPE_JOB_DELETED,
						subject{noun: "job", id: id, name: label(j), project: j.GetProject()}, nil, "by", a.actor)
				}
			}
		}
		result.PartWhys = append(result.PartWhys, no.part())
		if first == nil {
			first = no
		}
	}
	switch {
	case gone.jobs == 0 && first != nil:
		return result, first
	case gone.jobs > 0 && c.GetFinishedBefore() != nil:
		a.record(infoLevel, tandemv1.Event_TYPE_JOBS_PRUNED, aboutPruned(a, c), nil, "jobs", gone.jobs, "trials", gone.trials,
			"checkpoints", gone.checkpoints, "bytes", gone.bytes, "before", c.GetFinishedBefore().GetSeconds(), "policy", c.GetPolicy(), "by", a.actor)
	}
	return result, nil
}

// deleteLogs deletes the logs of jobs that had ended before a time. One whose logs are gone, or that was extended meanwhile, is left alone.
func deleteLogs(a *applier, c *tandemv1.DeleteJobs) *tandemv1.Result {
	jobs := 0
	for _, id := range c.GetJobIds() {
		if j, _ := a.Job(id); state.LogsOver(j, c.GetFinishedBefore().AsTime()) {
			for _, t := range a.TrialsOf(id) {
				a.throwAway(layout.Logs(t.GetId()))
			}
			edit(a, a.Job, id, func(j *tandemv1.Job) {
				j.LogsDeletedAt, j.LogsKeptFor = a.now, durationpb.New(a.now.AsTime().Sub(j.GetFinishedAt().AsTime()))
			})
			jobs++
		}
	}
	if jobs > 0 {
		a.record(infoLevel, tandemv1.Event_TYPE_LOGS_PRUNED, aboutPruned(a, c), nil, "jobs", jobs,
			"before", c.GetFinishedBefore().GetSeconds(), "policy", c.GetPolicy(), "by", a.actor)
	}
	return &tandemv1.Result{}
}

// checkDelete says why a job is not deleted; nil when it is.
func (a sight) checkDelete(j *tandemv1.Job, c *tandemv1.DeleteJobs) *refusal {
	if need := a.JobNeed(j); need != nil {
		return &refusal{codePrecondition, need}
	}
	if before := c.GetFinishedBefore(); before != nil && !j.GetFinishedAt().AsTime().Before(before.AsTime()) {
		return refuse(codePrecondition, tandemv1.Reason_CODE_JOB_TOO_YOUNG, "job", j.GetId(), "finished", j.GetFinishedAt().GetSeconds())
	}
	return nil
}

// deleteJob removes the rows of a job that nothing needs. What it published has rows of its own.
func (a *applier) deleteJob(j *tandemv1.Job, gone *removed) {
	for _, t := range a.TrialsOf(j.GetId()) {
		for _, c := range a.CheckpointsOf(t.GetId()) {
			a.Delete(c)
			gone.checkpoints++
			gone.bytes += c.GetBytes()
		}
		a.throwAway(layout.Trial(t.GetId()) + "/")
		a.Delete(t)
		gone.trials++
	}
	for _, e := range a.SweepEvents(j.GetId(), 0, 0) {
		a.Delete(e)
	}
	if s, ok := a.Sweep(j.GetId()); ok {
		a.Delete(s)
	}
	for _, e := range a.EventsOf(j.GetId(), 0) {
		a.Delete(e)
	}
	a.Delete(j)
	gone.jobs++
}

// aboutPruned is what the event of jobs that were pruned is about: the jobs of a project, or, where there are several, of all.
func aboutPruned(a *applier, c *tandemv1.DeleteJobs) subject {
	if c.GetProject() == "" && len(state.Projects(a.View)) > 1 {
		return subject{noun: "job", project: state.AllProjects}
	}
	return subject{noun: "job", project: c.GetProject()}
}
