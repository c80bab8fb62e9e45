package fsm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) applyPlan(c *tandemv1.ApplyPlan) *tandemv1.Result {
	result := &tandemv1.Result{}
	for _, alloc := range c.GetAllocations() {
		refusal := a.checkAllocation(alloc)
		if refusal == "" {
			a.grant(alloc)
		}
		result.PartRefusals = append(result.PartRefusals, refusal)
	}
	for _, id := range slices.Sorted(maps.Keys(c.GetPendingReasons())) {
		if t, ok := a.Trial(id); ok && t.GetState() == tandemv1.TrialState_TRIAL_STATE_PENDING {
			a.explain(t, c.GetPendingReasons()[id])
		}
	}
	return result
}

// checkAllocation says why an allocation does not fit the state as it is now; empty when it does.
func (a *applier) checkAllocation(alloc *tandemv1.Allocation) string {
	if alloc.GetId() == "" {
		return "the allocation has no id"
	}
	if _, ok := a.Allocation(alloc.GetId()); ok {
		return fmt.Sprintf("allocation %s is there already", alloc.GetId())
	}
	t, ok := a.Trial(alloc.GetTrialId())
	if !ok || t.GetState() != tandemv1.TrialState_TRIAL_STATE_PENDING {
		return fmt.Sprintf("trial %s does not wait for slots any more", alloc.GetTrialId())
	}
	if alloc.GetGeneration() != t.GetGeneration()+1 {
		return fmt.Sprintf("generation %d does not follow %d", alloc.GetGeneration(), t.GetGeneration())
	}
	j, _ := a.Job(t.GetJobId())
	want := int(j.GetSpec().GetResources().GetWorkers())
	if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		want = 1
	}
	if len(alloc.GetRanks()) != want {
		return fmt.Sprintf("the trial needs %d slots, the allocation has %d", want, len(alloc.GetRanks()))
	}
	mine := map[string]bool{}
	for i, r := range alloc.GetRanks() {
		place := r.GetNodeId() + "/" + r.GetSlotId()
		if mine[place] || int(r.GetRank()) != i {
			return fmt.Sprintf("rank %d is out of order or shares a slot", r.GetRank())
		}
		mine[place] = true
		if refusal := a.checkSlot(r.GetNodeId(), r.GetSlotId(), j.GetSpec().GetResources().GetPool()); refusal != "" {
			return refusal
		}
	}
	return ""
}

// checkSlot says why nothing can be placed on a slot; empty when it is free. An empty pool stands for any.
func (a *applier) checkSlot(nodeID, slotID, pool string) string {
	n, ok := a.Node(nodeID)
	switch {
	case !ok:
		return fmt.Sprintf("node %s is not there", nodeID)
	case n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE:
		return fmt.Sprintf("node %s is lost", nodeName(n))
	case n.GetCordoned():
		return fmt.Sprintf("node %s takes no new work", nodeName(n))
	case pool != "" && n.GetPool() != pool:
		return fmt.Sprintf("node %s is not in pool %s", nodeName(n), pool)
	case !state.HasSlot(n, slotID):
		return fmt.Sprintf("node %s has no slot %s", nodeName(n), slotID)
	}
	if holder, held := state.UsageOf(&a.View, nodeID)[slotID]; held {
		return fmt.Sprintf("slot %s of node %s is held by %s", slotID, nodeName(n), holder)
	}
	return ""
}

// grant carries an allocation out that was checked.
func (a *applier) grant(granted *tandemv1.Allocation) {
	t, _ := a.Trial(granted.GetTrialId())
	j, _ := a.Job(t.GetJobId())
	alloc := &tandemv1.Allocation{
		Id:                 granted.GetId(),
		TrialId:            t.GetId(),
		JobId:              j.GetId(),
		Generation:         granted.GetGeneration(),
		Stage:              t.GetStage(),
		CreatedAt:          a.now,
		ResumeCheckpointId: t.GetLatestCheckpointId(),
	}
	if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		alloc.ResumeCheckpointId = a.publishSource(j, t)
	}
	local := map[string]int32{}
	var names []string
	for _, r := range granted.GetRanks() {
		n, _ := a.Node(r.GetNodeId())
		if local[n.GetId()] == 0 {
			names = append(names, nodeName(n))
		}
		alloc.Ranks = append(alloc.Ranks, &tandemv1.Rank{
			Rank:      r.GetRank(),
			LocalRank: local[n.GetId()],
			NodeId:    n.GetId(),
			SlotId:    r.GetSlotId(),
			State:     tandemv1.RankState_RANK_STATE_ASSIGNED,
		})
		local[n.GetId()]++
	}
	a.Put(alloc)
	where := strings.Join(names, ", ")
	a.change(t, false, func(t *tandemv1.Trial) {
		t.State = tandemv1.TrialState_TRIAL_STATE_RUNNING
		t.Generation = alloc.GetGeneration()
		t.AllocationId = alloc.GetId()
		t.Reason = fmt.Sprintf("Starts on %s.", where)
	})
	if alloc.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		a.jobEvent(info, j, "publishes on %s (generation %d)", where, alloc.GetGeneration())
		return
	}
	a.jobEvent(info, j, "starts on %s with %s from %s (generation %d)", where, count(len(alloc.GetRanks()), "rank"), a.resumePoint(t), alloc.GetGeneration())
}

// removeAllocation frees the slots of an allocation and forgets what its ranks have exchanged.
func (a *applier) removeAllocation(id string) {
	for _, e := range a.RendezvousOf(id) {
		a.Delete(e)
	}
	a.Delete(&tandemv1.Allocation{Id: id})
}
