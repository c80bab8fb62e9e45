package state

import (
	"slices"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Prune says what becomes of the jobs that had ended before a time, in some states (none: in all), oldest first: each goes unless
// something needs it. It stops, and says that there are more, when so many rows go; 0 means never.
func (v *View) Prune(before time.Time, states []tandemv1.JobState, rows int) (jobs []*tandemv1.PrunedJob, more bool) {
	going := 0
	for _, j := range v.Jobs() {
		if !JobFinal(j.GetState()) || !j.GetFinishedAt().AsTime().Before(before) || len(states) > 0 && !slices.Contains(states, j.GetState()) {
			continue
		}
		if rows > 0 && going >= rows {
			return jobs, true
		}
		p := &tandemv1.PrunedJob{
			Id: j.GetId(), Name: j.GetName(), Kind: j.GetKind(), State: j.GetState(), FinishedAt: j.GetFinishedAt(), Why: v.JobNeed(j),
		}
		for _, t := range v.TrialsOf(j.GetId()) {
			p.Trials++
			for _, c := range v.CheckpointsOf(t.GetId()) {
				p.Checkpoints++
				p.Bytes += c.GetBytes()
			}
		}
		if p.Keep = p.GetWhy() != nil; !p.GetKeep() {
			going += 1 + int(p.GetTrials()) + int(p.GetCheckpoints())
		}
		jobs = append(jobs, p)
	}
	return jobs, false
}

// PruneLogs says whose logs go, as Prune does of jobs: of those that had ended before a time and whose logs were not deleted since.
func PruneLogs(v *View, before time.Time, states []tandemv1.JobState, rows int) (jobs []*tandemv1.PrunedJob, more bool) {
	going := 0
	for _, j := range v.Jobs() {
		if !LogsOver(j, before) || len(states) > 0 && !slices.Contains(states, j.GetState()) {
			continue
		}
		if rows > 0 && going >= rows {
			return jobs, true
		}
		trials := len(v.TrialsOf(j.GetId()))
		jobs = append(jobs, &tandemv1.PrunedJob{
			Id: j.GetId(), Name: j.GetName(), Kind: j.GetKind(), State: j.GetState(), FinishedAt: j.GetFinishedAt(), Trials: int32(trials),
		})
		going += 1 + trials
	}
	return jobs, false
}

// LogsOver says whether a job had ended before a time and has a log that was not deleted since.
func LogsOver(j *tandemv1.Job, before time.Time) bool {
	end := j.GetFinishedAt().AsTime()
	return JobFinal(j.GetState()) && end.Before(before) && (j.GetLogsDeletedAt() == nil || j.GetLogsDeletedAt().AsTime().Before(end))
}

// Going are the ids of the jobs that go.
func Going(jobs []*tandemv1.PrunedJob) (ids []string) {
	for _, p := range jobs {
		if !p.GetKeep() {
			ids = append(ids, p.GetId())
		}
	}
	return ids
}
