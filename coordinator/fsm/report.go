package fsm

import (
	"slices"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) applyReports(c *tandemv1.ApplyReports) (*tandemv1.Result, *refusal) {
	if removed, ok := a.RemovedNode(c.GetNodeId()); ok {
		return nil, &refusal{codePrecondition, state.WhyRemoved(removed)}
	}
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	}
	if c.GetIncarnation() != n.GetIncarnation() {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_NODE_INCARNATION, "node", nodeName(n), "current", n.GetIncarnation(), "given", c.GetIncarnation())
	}
	result := done(n.GetId())
	for i, r := range c.GetReports() {
		id := ""
		if i < len(c.GetIds()) {
			id = c.GetIds()[i]
		}
		seq, no := a.takeReport(n, r, id)
		result.PartWhys = append(result.PartWhys, no.part())
		result.Seqs = append(result.Seqs, seq)
	}
	if !slices.ContainsFunc(result.GetSeqs(), func(seq int64) bool { return seq != 0 }) {
		result.Seqs = nil
	}
	if c.GetLeaving() {
		a.leaveNode(n.GetId())
	}
	return result, nil
}

// takeReport takes one report, or says why not. seq is the sequence number of the event of a sweep that is its answer, the first that
// it made or, when it comes again, has made; 0: there is none. id is for the checkpoint it commits.
func (a *applier) takeReport(n *tandemv1.Node, r *tandemv1.EngineReport, id string) (seq int64, no *refusal) {
	allocID, number, ok := state.ParseEngineID(r.GetEngineId())
	if !ok {
		return 0, a.replicaReport(n, r)
	}
	if a.knownReport(r) {
		return 0, nil
	}
	alloc, _ := a.Allocation(allocID)
	m := state.Member(alloc, number)
	if m == nil {
		return state.AnswerOf(a.View, allocID, r), refuse(codeStale, tandemv1.Reason_CODE_ENGINE_OVER)
	}
	before, _ := a.Sweep(alloc.GetJobId())
	seq, no = a.memberReport(alloc, m, n, r, id)
	a.followAll()
	if after, _ := a.Sweep(alloc.GetJobId()); after.GetEventSeq() > before.GetEventSeq() {
		seq = before.GetEventSeq() + 1
	}
	return seq, no
}

// memberReport takes what the engine of a member says, whatever generation it is from: one that was removed is refused.
func (a *applier) memberReport(alloc *tandemv1.Allocation, m *tandemv1.Member, n *tandemv1.Node, r *tandemv1.EngineReport, id string) (seq int64, no *refusal) {
	if m.GetNodeId() != n.GetId() {
		return 0, refuse(codePrecondition, tandemv1.Reason_CODE_ENGINE_ELSEWHERE, "member", m.GetNumber(), "allocation", alloc.GetId(), "node", nodeName(n))
	}
	switch body := r.GetReport().(type) {
	case *tandemv1.EngineReport_Ready:
		a.memberReady(alloc, m, body.Ready)
	case *tandemv1.EngineReport_Formed:
		a.groupFormed(alloc, r.GetGeneration(), body.Formed.GetStep())
	case *tandemv1.EngineReport_Broken:
		a.groupBroken(alloc, m, r.GetGeneration(), body.Broken)
	case *tandemv1.EngineReport_Note:
		a.note(alloc, body.Note)
	case *tandemv1.EngineReport_Checkpoint:
		return 0, a.checkpointSaved(alloc, body.Checkpoint.GetCheckpoint(), checkpointGeneration(r), id)
	case *tandemv1.EngineReport_Evaluation:
		return a.evaluated(alloc.GetTrialId(), body.Evaluation), nil
	case *tandemv1.EngineReport_Finished:
		if kind.StageOf(alloc).Grouped && !state.HasGroup(alloc) {
			return 0, refuse(codePrecondition, tandemv1.Reason_CODE_NOTHING_TRAINED)
		}
		a.foundByReplay(alloc.GetJobId(), body.Finished.GetReplay())
		a.endMember(alloc, m, memberFinished)
	case *tandemv1.EngineReport_Stopped:
		if body.Stopped.GetReached() {
			a.markReached(alloc.GetTrialId())
		}
		a.endMember(alloc, m, memberStopped)
	case *tandemv1.EngineReport_Failed:
		a.memberFails(alloc, m, body.Failed)
	case *tandemv1.EngineReport_Version:
		return 0, a.versionSaved(alloc, body.Version)
	default:
		return 0, refuse(codeInvalid, tandemv1.Reason_CODE_REPORT_UNKNOWN)
	}
	return 0, nil
}

// checkpointGeneration is the generation a checkpoint was written as.
func checkpointGeneration(r *tandemv1.EngineReport) int64 {
	if g := r.GetCheckpoint().GetCheckpoint().GetGeneration(); g != 0 {
		return g
	}
	return r.GetGeneration()
}

// note makes an event of what an engine has to say.
func (a *applier) note(alloc *tandemv1.Allocation, n *tandemv1.EngineNote) {
	level := infoLevel
	if n.GetWarning() {
		level = warningLevel
	}
	j, _ := a.Job(alloc.GetJobId())
	t, _ := a.Trial(alloc.GetTrialId())
	a.trialEvent(level, tandemv1.Event_TYPE_JOB_NOTE, j, t, nil, "text", n.GetMessage())
}

// knownReport says whether a report that leaves a row behind was taken before, maybe by a generation that is over.
func (a sight) knownReport(r *tandemv1.EngineReport) bool {
	if v := r.GetVersion(); v != nil {
		known, ok := a.Version(v.GetVersionId())
		return ok && known.GetManifestSha256() == v.GetManifestSha256()
	}
	c := r.GetCheckpoint().GetCheckpoint()
	return c != nil && slices.ContainsFunc(a.CheckpointsOf(c.GetTrialId()), func(k *tandemv1.Checkpoint) bool {
		return k.GetStep() == c.GetStep() && k.GetGeneration() == checkpointGeneration(r) && k.GetManifestSha256() == c.GetManifestSha256()
	})
}

func (a *applier) memberFails(alloc *tandemv1.Allocation, m *tandemv1.Member, f *tandemv1.EngineFailed) {
	if state.MemberEnded(m.GetState()) {
		return // it had done its work
	}
	cause := state.EngineFailed(a.View, m, f.GetMessage())
	t, _ := a.Trial(alloc.GetTrialId())
	if f.GetNodeFault() {
		a.nodeFails(m.GetNodeId(), words(f.GetMessage()))
		a.loseMembers(alloc, []int32{m.GetNumber()}, cause, ofNode)
		return
	}
	diverged := f.GetDiverged() && state.OfSweep(t) // the search knows what to do then, better than another attempt
	if (f.GetPermanent() || diverged) && len(state.MembersIn(alloc, memberFinished)) == 0 {
		if diverged {
			edit(a, a.Trial, t.GetId(), func(t *tandemv1.Trial) { t.Diverged = true })
		}
		a.endTrial(t.GetId(), tandemv1.TrialState_TRIAL_STATE_FAILED, cause)
		return
	}
	blame := ofEngine
	if f.GetNodeStopping() || f.GetHung() && state.HasGroup(alloc) && alloc.GetGroup().GetWorldSize() > 1 {
		blame = ofMachine
	}
	a.loseMembers(alloc, []int32{m.GetNumber()}, cause, blame)
}
