package state

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Trial returns a trial.
func (v *View) Trial(id string) (*tandemv1.Trial, bool) {
	return get[*tandemv1.Trial](v, trialTable, id)
}

// Trials returns all trials by id.
func (v *View) Trials() []*tandemv1.Trial { return all[*tandemv1.Trial](v, trialTable) }

// TrialsOf returns the trials of a job by id.
func (v *View) TrialsOf(job string) []*tandemv1.Trial {
	return list[*tandemv1.Trial](v, trialTable, "job", job)
}

// CopyTrial returns a copy of a row, to change and put. Its spec and each of its evaluations, which may be many, are shared with the row.
func CopyTrial(t *tandemv1.Trial) *tandemv1.Trial {
	c := Shallow(t)
	c.Evaluations = slices.Clone(t.GetEvaluations())
	return c
}

// TrialsIn returns the trials of a job that are in a state which is not final, by id; of all jobs when it is empty.
func (v *View) TrialsIn(job string, s tandemv1.TrialState) []*tandemv1.Trial {
	if job == "" {
		return list[*tandemv1.Trial](v, trialTable, "state_prefix", join(s.String(), ""))
	}
	return list[*tandemv1.Trial](v, trialTable, "state", join(s.String(), job))
}

// FirstIn returns the first of TrialsIn.
func (v *View) FirstIn(job string, s tandemv1.TrialState) (*tandemv1.Trial, bool) {
	return firstOf[*tandemv1.Trial](v, trialTable, "state", join(s.String(), job))
}

// TrialNumber returns a trial of a sweep by its number.
func (v *View) TrialNumber(sweep string, n int32) (*tandemv1.Trial, bool) {
	return firstOf[*tandemv1.Trial](v, trialTable, "number", join(sweep, number(int64(n))))
}

// TrialsAfter returns the trials of a sweep after a number, by number; limit 0 means all.
func (v *View) TrialsAfter(sweep string, after int32, limit int) []*tandemv1.Trial {
	return from(v, trialTable, "number", join(sweep, number(int64(after)+1)), limit,
		func(t *tandemv1.Trial) bool { return t.GetJobId() == sweep })
}

// SpecOf returns the spec of a trial: its own, or that of its job.
func SpecOf(j *tandemv1.Job, t *tandemv1.Trial) *tandemv1.JobSpec {
	if t.GetSpec() != nil {
		return t.GetSpec()
	}
	return j.GetSpec()
}

// SpecHashOf returns the hash of SpecOf.
func SpecHashOf(j *tandemv1.Job, t *tandemv1.Trial) string {
	if t.GetSpec() != nil {
		return t.GetSpecHash()
	}
	return j.GetSpecHash()
}

// openTrial is where a trial that is not final is found by its state and its job.
func openTrial(t *tandemv1.Trial) []string {
	if TrialFinal(t.GetState()) {
		return nil
	}
	return []string{join(t.GetState().String(), t.GetJobId())}
}

// OfSweep says whether a trial is one that a search has made. The one trial of another job is not, nor is what publishes the best.
func OfSweep(t *tandemv1.Trial) bool { return t.GetNumber() > 0 }

// numbered is where a trial of a sweep is found by its number.
func numbered(t *tandemv1.Trial) []string {
	if !OfSweep(t) {
		return nil
	}
	return []string{join(t.GetJobId(), number(int64(t.GetNumber())))}
}

// startOf is where a trial is found by the checkpoint that it will begin from.
func startOf(t *tandemv1.Trial) []string {
	if TrialFinal(t.GetState()) || t.GetLatestCheckpointId() != "" {
		return nil
	}
	return []string{t.GetStartCheckpointId()}
}

// TrialFinal says whether a trial has reached a state it does not leave.
func TrialFinal(s tandemv1.TrialState) bool {
	return s == tandemv1.TrialState_TRIAL_STATE_COMPLETED || s == tandemv1.TrialState_TRIAL_STATE_FAILED ||
		s == tandemv1.TrialState_TRIAL_STATE_CANCELLED ||
		s == tandemv1.TrialState_TRIAL_STATE_STOPPED
}

// sortByCreation orders rows by created_at, then id.
func sortByCreation[T interface {
	GetId() string
	GetCreatedAt() *timestamppb.Timestamp
}](rows []T) {
	slices.SortFunc(rows, func(a, b T) int {
		if c := strings.Compare(timeKey(a.GetCreatedAt()), timeKey(b.GetCreatedAt())); c != 0 {
			return c
		}
		return strings.Compare(a.GetId(), b.GetId())
	})
}

// Unfinished is how many percent of its training a trial has done, as far as it was measured; empty: all of it.
func Unfinished(t *tandemv1.Trial) string {
	if t.GetState() == tandemv1.TrialState_TRIAL_STATE_COMPLETED {
		return ""
	}
	var share float64
	for _, e := range t.GetEvaluations() {
		if s, ok := ShareOf(t, e.GetStep()); ok {
			share = max(share, s)
		}
	}
	return strconv.FormatFloat(100*share, 'g', 3, 64)
}
