package fsm

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// stopAllocation ends an allocation as the leader decided, unless it is about to end with its work done.
func stopAllocation(a *applier, c *tandemv1.StopAllocation) (*tandemv1.Result, *refusal) {
	alloc, ok := a.Allocation(c.GetAllocationId())
	switch {
	case !ok || len(state.MembersIn(alloc, memberFinished)) > 0:
		return nil, refuse(codeStale, tandemv1.Reason_CODE_ALLOCATION_OVER, "allocation", c.GetAllocationId())
	case c.GetNow() && c.GetEnd():
		a.endTrial(alloc.GetTrialId(), tandemv1.TrialState_TRIAL_STATE_FAILED, c.GetWhy())
	case c.GetNow() && !kind.StageOf(alloc).Grouped:
		a.losePublisher(alloc, c.GetWhy(), ofNode)
	case c.GetNow():
		a.giveBack(alloc, c.GetWhy(), ofNode)
	default:
		edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
			if alloc.Stopping = true; c.GetEnd() {
				alloc.Ends, alloc.EndsSince = c.GetWhy(), a.now
			}
		})
		a.explain(alloc.GetTrialId(), reasonFrom(c.GetWhy(), tandemv1.Reason_CODE_STOPPING_FOR))
	}
	return done(c.GetAllocationId()), nil
}

// held counts for how long a trial, which is a copy already, has held the slots that it gives back now, where that is limited.
func (a sight) held(t *tandemv1.Trial) {
	j, _ := a.Job(t.GetJobId())
	if alloc, ok := a.Allocation(t.GetAllocationId()); ok && state.WallOf(j, t) > 0 {
		t.Held = durationpb.New(state.TimeHeld(t, alloc, a.now.AsTime()))
	}
}

// endOverdue ends a trial that waits for slots again and has used its time up.
func endOverdue(a *applier, id string) {
	t, _ := a.Trial(id)
	j, _ := a.Job(t.GetJobId())
	if left, limited := state.WallLeft(j, t, nil, a.now.AsTime()); limited && left <= 0 {
		a.endTrial(id, tandemv1.TrialState_TRIAL_STATE_FAILED, state.WallUsed(j, t))
	}
}
