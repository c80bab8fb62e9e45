package fsm

import (
	"fmt"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// checkpointSaved records a checkpoint that is in the store; it says why not, or nothing.
func (a *applier) checkpointSaved(alloc *tandemv1.Allocation, saved *tandemv1.Checkpoint, generation int64, id string) string {
	switch {
	case alloc.GetStage() != tandemv1.TrialStage_TRIAL_STAGE_TRAIN:
		return "only training writes checkpoints; end the engine"
	case id == "" || saved.GetPrefix() == "" || saved.GetManifestSha256() == "":
		return "a checkpoint needs an id, the prefix of its objects and the hash of its manifest"
	case generation > alloc.GetGeneration():
		return fmt.Sprintf("generation %d is not committed; the committed one is %d", generation, alloc.GetGeneration())
	}
	for _, c := range a.CheckpointsOf(alloc.GetTrialId()) {
		if c.GetStep() == saved.GetStep() && c.GetGeneration() == generation {
			if c.GetManifestSha256() == saved.GetManifestSha256() {
				return ""
			}
			return fmt.Sprintf("step %d of generation %d has a checkpoint with another manifest", saved.GetStep(), generation)
		}
	}
	if _, taken := a.Checkpoint(id); taken {
		return fmt.Sprintf("checkpoint %s is another one", id)
	}
	c := state.Clone(saved)
	c.Id = id
	c.TrialId = alloc.GetTrialId()
	c.JobId = alloc.GetJobId()
	c.Generation = generation
	c.CreatedAt = a.now
	c.Deleting = false
	a.Put(c)
	a.progressed(c.GetTrialId(), c.GetStep(), true)
	a.pointAtCheckpoints(c.GetTrialId())
	t, _ := a.Trial(c.GetTrialId())
	best := ""
	if t.GetBestCheckpointId() == c.GetId() {
		best = ", the best so far"
	}
	if t.GetNumber() == 0 {
		a.event(info, "checkpoint", c.GetId(), c.GetJobId(), "Checkpoint at step %d%s.", c.GetStep(), best)
	}
	return ""
}

// pointAtCheckpoints brings a trial's latest and best checkpoint up to date.
func (a *applier) pointAtCheckpoints(trialID string) {
	t, ok := a.Trial(trialID)
	if !ok {
		return
	}
	j, _ := a.Job(t.GetJobId())
	all := a.CheckpointsOf(trialID)
	latest := state.LatestCheckpoint(all).GetId()
	best := state.BestCheckpoint(state.SpecOf(j, t), all).GetId()
	if latest == t.GetLatestCheckpointId() && best == t.GetBestCheckpointId() {
		return
	}
	a.change(t, false, func(t *tandemv1.Trial) {
		t.LatestCheckpointId = latest
		t.BestCheckpointId = best
	})
}

// markCheckpoints refuses each that is needed or not there, and the whole command when that is all of them.
func (a *applier) markCheckpoints(m *tandemv1.MarkCheckpoints) *tandemv1.Result {
	result := &tandemv1.Result{}
	marked := 0
	code := precondition
	for _, id := range m.GetCheckpointIds() {
		refusal := ""
		c, ok := a.Checkpoint(id)
		if !ok {
			refusal, code = fmt.Sprintf("checkpoint %s is not there; see what is with: tandem checkpoint list", id), notFound
		} else if need := a.CheckpointNeed(c); need != "" {
			refusal, code = fmt.Sprintf("checkpoint %s is needed: %s", id, need), precondition
		}
		result.PartRefusals = append(result.PartRefusals, refusal)
		if refusal != "" {
			continue
		}
		marked++
		if !c.GetDeleting() {
			c = state.Clone(c)
			c.Deleting = true
			a.Put(c)
			a.pointAtCheckpoints(c.GetTrialId())
		}
	}
	if marked == 0 && len(result.GetPartRefusals()) > 0 {
		result.Refusal = code
		result.Message = result.GetPartRefusals()[0]
	}
	return result
}

// forgetCheckpoints removes the rows of those that were marked; one that is not there is no error.
func (a *applier) forgetCheckpoints(f *tandemv1.ForgetCheckpoints) *tandemv1.Result {
	result := &tandemv1.Result{}
	for _, id := range f.GetCheckpointIds() {
		refusal := ""
		if c, ok := a.Checkpoint(id); ok && c.GetDeleting() {
			a.Delete(c)
			if t, _ := a.Trial(c.GetTrialId()); t.GetNumber() == 0 {
				a.event(info, "checkpoint", id, c.GetJobId(), "The checkpoint at step %d was deleted.", c.GetStep())
			}
		} else if ok {
			refusal = fmt.Sprintf("checkpoint %s was not marked for deletion", id)
		}
		result.PartRefusals = append(result.PartRefusals, refusal)
	}
	return result
}
