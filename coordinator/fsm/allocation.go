package fsm

import (
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) applyPlan(c *tandemv1.ApplyPlan) (*tandemv1.Result, *refusal) {
	result := &tandemv1.Result{}
	for _, alloc := range c.GetAllocations() {
		no := a.checkAllocation(alloc)
		if no == nil {
			a.grant(alloc)
		}
		result.PartWhys = append(result.PartWhys, no.part())
	}
	return result, nil
}

// checkAllocation says why an allocation does not fit the state as it is now; nil when it does.
func (a sight) checkAllocation(alloc *tandemv1.Allocation) *refusal {
	if alloc.GetId() == "" {
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "allocation", "field", "id")
	}
	if _, ok := a.Allocation(alloc.GetId()); ok {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "allocation", "name", alloc.GetId())
	}
	t, ok := a.Trial(alloc.GetTrialId())
	if !ok || t.GetState() != tandemv1.TrialState_TRIAL_STATE_PENDING {
		return refuse(codeStale, tandemv1.Reason_CODE_TRIAL_NOT_WAITING, "trial", alloc.GetTrialId())
	}
	next := t.GetGeneration() // training counts on when a process group is committed
	j, _ := a.Job(t.GetJobId())
	if state.WaitsForJobs(j) != nil {
		return refuse(codeStale, tandemv1.Reason_CODE_TRIAL_NOT_WAITING, "trial", alloc.GetTrialId())
	}
	workers := state.WorkersOf(j)
	low, high := workers.Min, workers.Wanted
	if !kind.StageOf(t).Grouped {
		next++
		low, high = 1, 1
	}
	if alloc.GetGeneration() != next {
		return refuse(codeStale, tandemv1.Reason_CODE_GENERATION_NOT_COMMITTED, "given", alloc.GetGeneration(), "current", next)
	}
	if n := len(alloc.GetMembers()); n < low || n > high {
		return refuse(codeInvalid, tandemv1.Reason_CODE_OUT_OF_RANGE, "noun", "allocation", "field", "members", "min", low, "max", high, "given", n)
	}
	return a.checkPlaces(alloc.GetMembers(), j)
}

// checkPlaces says why members cannot be placed where they say; nil when they can.
func (a sight) checkPlaces(members []*tandemv1.Member, j *tandemv1.Job) *refusal {
	mine := map[string]bool{}
	for _, m := range members {
		place := m.GetNodeId() + "/" + m.GetSlotId()
		if mine[place] {
			return refuse(codeInvalid, tandemv1.Reason_CODE_SLOT_TWICE, "slot", m.GetSlotId(), "node", m.GetNodeId())
		}
		mine[place] = true
		if no := a.checkSlot(m.GetNodeId(), m.GetSlotId(), state.PoolOf(j)); no != nil {
			return no
		}
		if n, _ := a.Node(m.GetNodeId()); !state.Suits(n, j.GetSpec().GetPlacement()) {
			return refuse(codePrecondition, tandemv1.Reason_CODE_NODE_LACKS_LABELS, "node", nodeName(n),
				"labels", state.LabelText(j.GetSpec().GetPlacement().GetLabels()))
		}
	}
	return nil
}

// checkSlot says why nothing can be placed on a slot; nil when it is free. An empty pool stands for any.
func (a sight) checkSlot(nodeID, slotID, pool string) *refusal {
	n, ok := a.Node(nodeID)
	switch {
	case !ok:
		return refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", nodeID)
	case n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE:
		return refuse(codePrecondition, tandemv1.Reason_CODE_NODE_LOST, "node", nodeName(n))
	case n.GetCordoned():
		return refuse(codePrecondition, tandemv1.Reason_CODE_NODE_CORDONED, "node", nodeName(n))
	case state.DiskFull(n) != nil:
		return &refusal{codePrecondition, state.DiskFull(n)}
	case state.Faulty(n, a.now.AsTime()):
		return refuseFrom(given(n.GetFault().GetWhy(), n.GetFault().GetCause()), tandemv1.Reason_CODE_NODE_FAULTY, "node", nodeName(n))
	case pool != "" && n.GetPool() != pool:
		return refuse(codePrecondition, tandemv1.Reason_CODE_NODE_OF_OTHER_POOL, "node", nodeName(n), "pool", pool)
	case state.SlotDisabled(n, slotID):
		return refuse(codePrecondition, tandemv1.Reason_CODE_SLOT_DISABLED, "node", nodeName(n), "slot", slotID)
	case !state.HasSlot(n, slotID):
		return refuse(codeNotFound, tandemv1.Reason_CODE_SLOT_UNKNOWN, "node", nodeName(n), "slot", slotID)
	}
	if holder, held := state.UsageOf(a.View, nodeID)[slotID]; held {
		return refuse(codePrecondition, tandemv1.Reason_CODE_SLOT_HELD, "slot", slotID, "node", nodeName(n), "holder", holder)
	}
	return nil
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
		ResumeCheckpointId: state.ResumeSource(j, t),
		OnLoan:             granted.GetOnLoan(),
	}
	state.AddMembers(alloc, granted.GetMembers(), a.now)
	does := kind.StageOf(t)
	if does.Publishes {
		alloc.ResumeCheckpointId = state.PublishSource(j, t)
	}
	if !does.Grouped {
		alloc.Members[0].Rank, alloc.Members[0].Generation = 0, alloc.GetGeneration()
	}
	a.Put(alloc)
	where := a.places(alloc.GetMembers())
	edit(a, a.Trial, t.GetId(), func(t *tandemv1.Trial) {
		t.State = tandemv1.TrialState_TRIAL_STATE_RUNNING
		t.Generation = alloc.GetGeneration()
		t.AllocationId = alloc.GetId()
		t.Why, t.Reason = reason(tandemv1.Reason_CODE_STARTING, "nodes", where), ""
	})
	if does.Publishes {
		a.trialEvent(infoLevel, tandemv1.Event_TYPE_JOB_PUBLISHING, j, t, nil, "nodes", where, "generation", alloc.GetGeneration())
		return
	}
	a.trialEvent(infoLevel, tandemv1.Event_TYPE_JOB_STARTED, j, t, nil, append(state.ResumePoint(a.View, t), "nodes", where, "workers", len(alloc.GetMembers()))...)
}

// places names the nodes of members for people, each once.
func (a sight) places(members []*tandemv1.Member) string {
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
