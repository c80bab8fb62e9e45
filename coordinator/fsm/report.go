package fsm

import (
	"fmt"
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Over is the refusal of a report whose engine should not be there any more.
const Over = "the generation is over; end the engine"

func (a *applier) applyReports(c *tandemv1.ApplyReports) *tandemv1.Result {
	if removed, ok := a.RemovedNode(c.GetNodeId()); ok {
		return refuse(precondition, "%s", state.RemovedAdvice(removed))
	}
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return refuse(notFound, "node %s is not there; open a new session", c.GetNodeId())
	}
	if c.GetIncarnation() != n.GetIncarnation() {
		return refuse(stale, "a report of incarnation %d of node %s, which is at %d; end this session", c.GetIncarnation(), nodeName(n), n.GetIncarnation())
	}
	result := done(n.GetId())
	for i, r := range c.GetReports() {
		id := ""
		if i < len(c.GetIds()) {
			id = c.GetIds()[i]
		}
		result.PartRefusals = append(result.PartRefusals, a.report(n, r, id))
	}
	if c.GetLeaving() {
		a.leaveNode(n)
	}
	return result
}

// report takes one report and says why it was refused; empty when it was taken. id is for the checkpoint it commits.
func (a *applier) report(n *tandemv1.Node, r *tandemv1.EngineReport, id string) string {
	allocID, rank, ok := state.ParseEngineID(r.GetEngineId())
	if !ok {
		return a.replicaReport(n, r)
	}
	if a.knownReport(r) {
		return ""
	}
	alloc, ok := a.Allocation(allocID)
	if !ok || r.GetGeneration() != alloc.GetGeneration() {
		if f := r.GetFailed(); f != nil && !f.GetPeerLost() {
			a.explainLoss(allocID, failureText(rank, n, f), f)
		}
		return Over
	}
	if int(rank) >= len(alloc.GetRanks()) || alloc.GetRanks()[rank].GetNodeId() != n.GetId() {
		return fmt.Sprintf("rank %d of allocation %s is not on node %s; end the engine", rank, allocID, nodeName(n))
	}
	t, _ := a.Trial(alloc.GetTrialId())
	switch body := r.GetReport().(type) {
	case *tandemv1.EngineReport_Ready:
		a.rankReady(alloc, rank, body.Ready.GetTotalSteps())
	case *tandemv1.EngineReport_Checkpoint:
		return a.checkpointSaved(alloc, body.Checkpoint.GetCheckpoint(), id)
	case *tandemv1.EngineReport_Evaluation:
		a.evaluated(t, body.Evaluation)
	case *tandemv1.EngineReport_Finished:
		a.rankEnds(alloc, rank, tandemv1.RankState_RANK_STATE_FINISHED)
	case *tandemv1.EngineReport_Stopped:
		a.rankEnds(alloc, rank, tandemv1.RankState_RANK_STATE_STOPPED)
	case *tandemv1.EngineReport_Failed:
		a.rankFails(alloc, rank, n, body.Failed)
	case *tandemv1.EngineReport_Version:
		return a.versionSaved(alloc, body.Version)
	default:
		return "the report says nothing; run the same version on agents and coordinators"
	}
	return ""
}

// knownReport says whether a report that leaves a row behind was taken before, maybe by a generation that is over.
func (a *applier) knownReport(r *tandemv1.EngineReport) bool {
	if v := r.GetVersion(); v != nil {
		known, ok := a.Version(v.GetVersionId())
		return ok && known.GetManifestSha256() == v.GetManifestSha256()
	}
	c := r.GetCheckpoint().GetCheckpoint()
	return c != nil && slices.ContainsFunc(a.CheckpointsOf(c.GetTrialId()), func(k *tandemv1.Checkpoint) bool {
		return k.GetStep() == c.GetStep() && k.GetGeneration() == r.GetGeneration() && k.GetManifestSha256() == c.GetManifestSha256()
	})
}

func (a *applier) rankReady(alloc *tandemv1.Allocation, rank int32, totalSteps int64) {
	if alloc.GetRanks()[rank].GetState() != tandemv1.RankState_RANK_STATE_ASSIGNED {
		return
	}
	alloc = a.setRank(alloc, rank, tandemv1.RankState_RANK_STATE_RUNNING)
	t, _ := a.Trial(alloc.GetTrialId())
	all := !slices.ContainsFunc(alloc.GetRanks(), func(r *tandemv1.Rank) bool {
		return r.GetState() == tandemv1.RankState_RANK_STATE_ASSIGNED
	})
	a.change(t, false, func(t *tandemv1.Trial) {
		if totalSteps > 0 {
			t.TotalSteps = totalSteps
		}
		if all && !alloc.GetStopping() {
			t.Reason = fmt.Sprintf("Runs on %s.", count(len(alloc.GetRanks()), "rank"))
		}
	})
}

func (a *applier) rankEnds(alloc *tandemv1.Allocation, rank int32, how tandemv1.RankState) {
	if state.RankEnded(alloc.GetRanks()[rank].GetState()) {
		return
	}
	alloc = a.setRank(alloc, rank, how)
	for _, r := range alloc.GetRanks() {
		if !state.RankEnded(r.GetState()) {
			return
		}
	}
	a.ranksEnded(alloc)
}

func (a *applier) rankFails(alloc *tandemv1.Allocation, rank int32, n *tandemv1.Node, f *tandemv1.EngineFailed) {
	if state.RankEnded(alloc.GetRanks()[rank].GetState()) {
		return // it had done its work
	}
	message := failureText(rank, n, f)
	if !f.GetPermanent() {
		if t, _ := a.Trial(alloc.GetTrialId()); f.GetPeerLost() {
			t = state.Clone(t)
			t.UnexplainedAllocationId = alloc.GetId()
			a.Put(t)
		}
		a.faultTrial(alloc, message, !f.GetNodeStopping() && !f.GetPeerLost())
		return
	}
	t, _ := a.Trial(alloc.GetTrialId())
	a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_FAILED, sentence(message))
}

// failureText says for people which rank failed and how.
func failureText(rank int32, n *tandemv1.Node, f *tandemv1.EngineFailed) string {
	return fmt.Sprintf("Rank %d on %s: %s", rank, nodeName(n), f.GetMessage())
}

// explainLoss takes the cause of a fault of which only those have been heard so far that missed a rank: they are often
// faster than the agent of the rank that was lost. What they say does not use up max_restarts; the cause does.
func (a *applier) explainLoss(alloc, cause string, f *tandemv1.EngineFailed) {
	all := a.Trials()
	i := slices.IndexFunc(all, func(t *tandemv1.Trial) bool { return t.GetUnexplainedAllocationId() == alloc })
	if i < 0 {
		return
	}
	t := state.Clone(all[i])
	t.UnexplainedAllocationId = ""
	a.Put(t)
	j, _ := a.Job(t.GetJobId())
	a.jobEvent(warning, j, "lost its ranks because of this: %s", strings.TrimSuffix(cause, "."))
	switch {
	case state.TrialFinal(t.GetState()) || f.GetNodeStopping():
	case f.GetPermanent():
		a.endTrial(t, tandemv1.TrialState_TRIAL_STATE_FAILED, sentence(cause))
	default:
		a.countRestart(t, j, cause)
	}
}

func (a *applier) setRank(alloc *tandemv1.Allocation, rank int32, to tandemv1.RankState) *tandemv1.Allocation {
	alloc = state.Clone(alloc)
	alloc.Ranks[rank].State = to
	a.Put(alloc)
	return alloc
}
