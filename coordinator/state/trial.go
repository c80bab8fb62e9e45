package state

import (
	"slices"
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

// TrialFinal says whether a trial has reached a state it does not leave.
func TrialFinal(s tandemv1.TrialState) bool {
	return s == tandemv1.TrialState_TRIAL_STATE_COMPLETED || s == tandemv1.TrialState_TRIAL_STATE_FAILED ||
		s == tandemv1.TrialState_TRIAL_STATE_CANCELLED
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
