package kind

import (
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Kind is what the jobs of a kind are.
type Kind struct {
	// ID is the kind in the schema; its plain word is that of specs.
	ID tandemv1.JobKind
	// First is the stage that the one trial of such a job begins with; none where a search makes the trials.
	First tandemv1.TrialStage
	// Searches: a search makes its trials, so many that the job does not name them.
	Searches bool
	// Trains: the spec names a dataset and says with how many workers.
	Trains bool
	// Scales: the number of its workers may be changed.
	Scales bool
	// Replays: it ends with what a comparison found, and leaves nothing else.
	Replays bool
	// Source is the checkpoint that the spec has it begin from; nil where it begins from nothing.
	Source func(*tandemv1.JobSpec) string
	// missing names the field that such a spec cannot do without and has not; nil where there is none of its own.
	missing func(*tandemv1.JobSpec) string
}

// Stage is what the allocations of a stage do.
type Stage struct {
	// ID is the stage in the schema.
	ID tandemv1.TrialStage
	// Grouped: members work in process groups, whose generation counts when one is committed; else there is one member, which works alone.
	Grouped bool
	// Checkpoints: it stores checkpoints.
	Checkpoints bool
	// Resumes: it may be stopped and go on later from where it was.
	Resumes bool
	// Publishes: it makes a version of a checkpoint.
	Publishes bool
}

var kinds = []Kind{
	{ID: tandemv1.JobKind_JOB_KIND_TRAIN, First: tandemv1.TrialStage_TRIAL_STAGE_TRAIN, Trains: true, Scales: true},
	{
		ID: tandemv1.JobKind_JOB_KIND_PUBLISH, First: tandemv1.TrialStage_TRIAL_STAGE_PUBLISH,
		Source: func(s *tandemv1.JobSpec) string { return s.GetPublish().GetCheckpointId() },
		missing: func(s *tandemv1.JobSpec) string {
			if s.GetPublish().GetModel() == "" {
				return "publish.model"
			}
			return ""
		},
	},
	{
		ID: tandemv1.JobKind_JOB_KIND_REPLAY, First: tandemv1.TrialStage_TRIAL_STAGE_TRAIN, Trains: true, Scales: true, Replays: true,
		Source: func(s *tandemv1.JobSpec) string { return s.GetReplay().GetCheckpointId() },
		missing: func(s *tandemv1.JobSpec) string {
			if s.GetReplay().GetSteps() < 1 {
				return "replay.steps"
			}
			return ""
		},
	},
	{ID: tandemv1.JobKind_JOB_KIND_SWEEP, Searches: true, Trains: true, Scales: true},
}

var stages = []Stage{
	{ID: tandemv1.TrialStage_TRIAL_STAGE_TRAIN, Grouped: true, Checkpoints: true, Resumes: true},
	{ID: tandemv1.TrialStage_TRIAL_STAGE_PUBLISH, Publishes: true},
}

// Of returns the row of a job's kind.
func Of(j interface{ GetKind() tandemv1.JobKind }) Kind {
	for _, k := range kinds {
		if k.ID == j.GetKind() {
			return k
		}
	}
	return Kind{}
}

// Missing names the field that a spec of the kind cannot do without and has not; empty: none.
func (k Kind) Missing(s *tandemv1.JobSpec) string {
	switch {
	case k.ID == tandemv1.JobKind_JOB_KIND_UNSPECIFIED:
		return "kind"
	case k.missing == nil:
		return ""
	}
	return k.missing(s)
}

// Named returns the row of a kind by its word in specs; false when no kind has this word.
func Named(word string) (Kind, bool) {
	for _, k := range kinds {
		if plain.Word(k.ID) == word {
			return k, true
		}
	}
	return Kind{}, false
}

// Words are the words of all kinds in specs.
func Words() []string {
	var words []string
	for _, k := range kinds {
		words = append(words, plain.Word(k.ID))
	}
	return words
}

// StageOf returns the row of the stage of a trial or of an allocation.
func StageOf(t interface{ GetStage() tandemv1.TrialStage }) Stage {
	for _, s := range stages {
		if s.ID == t.GetStage() {
			return s
		}
	}
	return Stage{}
}
