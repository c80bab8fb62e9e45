package fsm

import (
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// checkpointSaved records a checkpoint that is in the store; it says why not, or nil.
func (a *applier) checkpointSaved(alloc *tandemv1.Allocation, saved *tandemv1.Checkpoint, generation int64, id string) *refusal {
	field := missing("id", id, "prefix", saved.GetPrefix(), "manifest_sha256", saved.GetManifestSha256())
	switch {
	case !kind.StageOf(alloc).Checkpoints:
		return refuse(codeInvalid, tandemv1.Reason_CODE_OTHER_STAGE, "stage", "train")
	case field != "":
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "checkpoint", "field", field)
	case generation > alloc.GetGeneration():
		return refuse(codeStale, tandemv1.Reason_CODE_GENERATION_NOT_COMMITTED, "given", generation, "current", alloc.GetGeneration())
	}
	for _, c := range a.CheckpointsOf(alloc.GetTrialId()) {
		if c.GetStep() == saved.GetStep() && c.GetGeneration() == generation {
			if c.GetManifestSha256() == saved.GetManifestSha256() {
				return nil
			}
			return refuse(codeExists, tandemv1.Reason_CODE_CHECKPOINT_DIFFERS, "step", saved.GetStep(), "generation", generation)
		}
	}
	if _, taken := a.Checkpoint(id); taken {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "checkpoint", "name", id)
	}
	c := state.Clone(saved)
	c.Id = id
	c.TrialId = alloc.GetTrialId()
	c.JobId = alloc.GetJobId()
	c.Generation = generation
	c.CreatedAt = a.now
	c.Deleting = false
	trained, _ := a.Trial(c.GetTrialId())
	latest, kept := a.Checkpoint(trained.GetLatestCheckpointId())
	a.Put(c)
	a.progressed(c.GetTrialId(), c.GetStep(), !kept || c.GetStep() > latest.GetStep()) // what each attempt stores again is no progress
	a.pointAtCheckpoints(c.GetTrialId())
	t, _ := a.Trial(c.GetTrialId())
	if !state.OfSweep(t) {
		a.record(infoLevel, tandemv1.Event_TYPE_CHECKPOINT_COMMITTED, aboutCheckpoint(c), nil, "step", c.GetStep(), "best", t.GetBestCheckpointId() == c.GetId())
	}
	return nil
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
	edit(a, a.Trial, t.GetId(), func(t *tandemv1.Trial) {
		t.LatestCheckpointId = latest
		t.BestCheckpointId = best
	})
}

// markCheckpoints refuses each that is needed or not there, and the whole command when that is all of them.
func (a *applier) markCheckpoints(m *tandemv1.MarkCheckpoints) (*tandemv1.Result, *refusal) {
	result := &tandemv1.Result{}
	marked := 0
	var last *refusal
	for _, id := range m.GetCheckpointIds() {
		c, ok := a.Checkpoint(id)
		var no *refusal
		if !ok {
			no = refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "checkpoint", "name", id)
		} else if need := a.CheckpointNeed(c); need != nil {
			no = refuseFrom(need, tandemv1.Reason_CODE_CHECKPOINT_NEEDED, "checkpoint", id)
		}
		result.PartWhys = append(result.PartWhys, no.part())
		if no != nil {
			last = no
			continue
		}
		marked++
		if !c.GetDeleting() {
			edit(a, a.Checkpoint, id, func(c *tandemv1.Checkpoint) { c.Deleting = true })
			a.pointAtCheckpoints(c.GetTrialId())
		}
	}
	if marked == 0 && last != nil {
		return result, &refusal{last.code, result.GetPartWhys()[0]}
	}
	return result, nil
}

// forgetCheckpoints removes the rows of those that were marked; one that does not exist is not an error.
func (a *applier) forgetCheckpoints(f *tandemv1.ForgetCheckpoints) (*tandemv1.Result, *refusal) {
	result := &tandemv1.Result{}
	for _, id := range f.GetCheckpointIds() {
		var no *refusal
		if c, ok := a.Checkpoint(id); ok && c.GetDeleting() {
			a.Delete(c)
			if t, _ := a.Trial(c.GetTrialId()); !state.OfSweep(t) {
				a.record(infoLevel, tandemv1.Event_TYPE_CHECKPOINT_DELETED, aboutCheckpoint(c), nil, "step", c.GetStep())
			}
		} else if ok {
			no = refuse(codePrecondition, tandemv1.Reason_CODE_CHECKPOINT_NOT_MARKED, "checkpoint", id)
		}
		result.PartWhys = append(result.PartWhys, no.part())
	}
	return result, nil
}
