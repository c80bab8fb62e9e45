package state

import (
	"strconv"

	"tandem.dev/proto/kind"
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

// CheckpointNeed says why a checkpoint must stay; nil when nothing needs it.
func (v *View) CheckpointNeed(c *tandemv1.Checkpoint) *tandemv1.Reason {
	if t, ok := v.Trial(c.GetTrialId()); ok && !TrialFinal(t.GetState()) {
		switch c.GetId() {
		case t.GetLatestCheckpointId():
			return NewReason(tandemv1.Reason_CODE_CHECKPOINT_RESUMED, "job", t.GetJobId())
		case t.GetBestCheckpointId():
			return NewReason(tandemv1.Reason_CODE_CHECKPOINT_BEST, "job", t.GetJobId())
		}
	}
	if t, ok := firstOf[*tandemv1.Trial](v, trialTable, "start", c.GetId()); ok {
		if kind.StageOf(t).Publishes {
			return NewReason(tandemv1.Reason_CODE_CHECKPOINT_PUBLISHED, "job", t.GetJobId())
		}
		return NewReason(tandemv1.Reason_CODE_CHECKPOINT_STARTS, "trial", strconv.Itoa(int(t.GetNumber())), "job", t.GetJobId())
	}
	if a, ok := firstOf[*tandemv1.Allocation](v, allocationTable, "resume", c.GetId()); ok {
		return NewReason(tandemv1.Reason_CODE_CHECKPOINT_USED, "job", a.GetJobId())
	}
	j, ok := firstOf[*tandemv1.Job](v, jobTable, "source", c.GetId())
	switch {
	case !ok:
		return nil
	case j.GetSpec().GetPublish().GetCheckpointId() == c.GetId():
		return NewReason(tandemv1.Reason_CODE_CHECKPOINT_PUBLISHED, "job", j.GetId())
	}
	return NewReason(tandemv1.Reason_CODE_CHECKPOINT_REPLAYED, "job", j.GetId())
}

// CheckpointsByID returns all checkpoints by id.
func (v *View) CheckpointsByID() []*tandemv1.Checkpoint {
	return all[*tandemv1.Checkpoint](v, checkpointTable)
}
