package state

import (
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Checkpoint returns a checkpoint.
func (v *View) Checkpoint(id string) (*tandemv1.Checkpoint, bool) {
	return get[*tandemv1.Checkpoint](v, checkpointTable, id)
}

// Checkpoints returns all checkpoints, oldest first.
func (v *View) Checkpoints() []*tandemv1.Checkpoint {
	return list[*tandemv1.Checkpoint](v, checkpointTable, "created_prefix", "")
}

// CheckpointsOf returns the checkpoints of a trial, by id.
func (v *View) CheckpointsOf(trial string) []*tandemv1.Checkpoint {
	return list[*tandemv1.Checkpoint](v, checkpointTable, "trial", trial)
}

// ResolveCheckpoint finds a checkpoint by id or a unique prefix of one.
// It fails with ErrNotFound or ErrAmbiguous.
func (v *View) ResolveCheckpoint(ref string) (*tandemv1.Checkpoint, error) {
	return resolve[*tandemv1.Checkpoint](v, checkpointTable, "checkpoint", "ckpt-", ref, nil)
}

// CheckpointNeed says why a checkpoint must stay, for people; empty when nothing needs it.
func (v *View) CheckpointNeed(c *tandemv1.Checkpoint) string {
	if t, ok := v.Trial(c.GetTrialId()); ok && !TrialFinal(t.GetState()) {
		switch c.GetId() {
		case t.GetLatestCheckpointId():
			return "job " + t.GetJobId() + " resumes from it; cancel the job first"
		case t.GetBestCheckpointId():
			return "it is the best of job " + t.GetJobId() + ", which has not ended; cancel the job first"
		}
	}
	if t, ok := firstOf[*tandemv1.Trial](v, trialTable, "start", c.GetId()); ok {
		if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
			return "job " + t.GetJobId() + " publishes it; wait until the job ends or cancel it"
		}
		return fmt.Sprintf("%s of job %s begins from it; wait until the job ends or cancel it", TrialLabel(t), t.GetJobId())
	}
	for _, a := range v.Allocations() {
		if a.GetResumeCheckpointId() == c.GetId() {
			return "job " + a.GetJobId() + " runs from it; wait until the job ends or cancel it"
		}
	}
	for _, j := range v.Jobs() {
		if JobFinal(j.GetState()) {
			continue
		}
		switch c.GetId() {
		case j.GetSpec().GetPublish().GetCheckpointId():
			return "job " + j.GetId() + " publishes it; wait until the job ends or cancel it"
		case j.GetSpec().GetReplay().GetCheckpointId():
			return "job " + j.GetId() + " does the steps after it again; wait until the job ends or cancel it"
		}
	}
	return ""
}

// CheckpointsByID returns all checkpoints by id.
func (v *View) CheckpointsByID() []*tandemv1.Checkpoint {
	return all[*tandemv1.Checkpoint](v, checkpointTable)
}
