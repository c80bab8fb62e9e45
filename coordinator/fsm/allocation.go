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
	next := t.GetGeneration() // training counts on when a process group is committed
	j, _ := a.Job(t.GetJobId())
	workers := state.WorkersOf(j)
	low, high := workers.Min, workers.Wanted
	if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		next++
		low, high = 1, 1
	}
	if alloc.GetGeneration() != next {
		return fmt.Sprintf("the allocation begins with generation %d, the trial with %d", alloc.GetGeneration(), next)
	}
	if n := len(alloc.GetMembers()); n < low || n > high {
		return fmt.Sprintf("the trial needs %d to %d slots, the allocation has %d", low, high, n)
	}
	return a.checkPlaces(alloc.GetMembers(), j)
}

// checkPlaces says why members cannot be placed where they say; empty when they can.
func (a *applier) checkPlaces(members []*tandemv1.Member, j *tandemv1.Job) string {
	mine := map[string]bool{}
	for _, m := range members {
		place := m.GetNodeId() + "/" + m.GetSlotId()
		if mine[place] {
			return fmt.Sprintf("slot %s of node %s is there twice", m.GetSlotId(), m.GetNodeId())
		}
		mine[place] = true
		if refusal := a.checkSlot(m.GetNodeId(), m.GetSlotId(), j.GetSpec().GetResources().GetPool()); refusal != "" {
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
	case state.Faulty(n, a.now.AsTime()):
		return fmt.Sprintf("node %s could not run an engine: %s", nodeName(n), n.GetFault().GetCause())
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
		ResumeCheckpointId: resumeSource(j, t),
		FormedStep:         -1,
	}
	a.addMembers(alloc, granted.GetMembers())
	if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		alloc.ResumeCheckpointId = a.publishSource(j, t)
		alloc.Members[0].Rank, alloc.Members[0].Generation = 0, alloc.GetGeneration()
	}
	a.Put(alloc)
	where := a.places(alloc.GetMembers())
	a.change(t, false, func(t *tandemv1.Trial) {
		t.State = tandemv1.TrialState_TRIAL_STATE_RUNNING
		t.Generation = alloc.GetGeneration()
		t.AllocationId = alloc.GetId()
		t.Reason = fmt.Sprintf("Starts on %s.", where)
	})
	if alloc.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		a.trialEvent(info, j, t, "publishes on %s (generation %d)", where, alloc.GetGeneration())
		return
	}
	a.trialEvent(info, j, t, "starts on %s with %s from %s", where, count(len(alloc.GetMembers()), "worker"), a.resumePoint(t))
}

// addMembers gives an allocation, which is a copy already, more members: the first generation they may be in is the next.
func (a *applier) addMembers(alloc *tandemv1.Allocation, more []*tandemv1.Member) {
	for _, m := range more {
		alloc.Members = append(alloc.Members, &tandemv1.Member{
			Number:     alloc.GetNextMember(),
			Rank:       -1,
			NodeId:     m.GetNodeId(),
			SlotId:     m.GetSlotId(),
			State:      tandemv1.MemberState_MEMBER_STATE_ASSIGNED,
			Generation: alloc.GetGeneration() + 1,
			AddedAt:    a.now,
		})
		alloc.NextMember++
	}
}

// places names the nodes of members for people, each once.
func (a *applier) places(members []*tandemv1.Member) string {
	var names []string
	for _, m := range members {
		n, _ := a.Node(m.GetNodeId())
		if name := nodeName(n); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// removeAllocation frees the slots of an allocation and forgets what its ranks have exchanged.
func (a *applier) removeAllocation(id string) {
	alloc, _ := a.Allocation(id)
	a.spend(alloc, alloc.GetMembers()...)
	a.forgetRendezvous(id)
	a.Delete(&tandemv1.Allocation{Id: id})
}
