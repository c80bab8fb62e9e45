package fsm

import (
	tandemv1 "tandem.dev/proto/tandem/v1"

	"tandem.dev/coordinator/state"
)

const (
	rendezvousKeyLimit   = 256
	rendezvousValueLimit = 64 << 10
)

func (a *applier) putRendezvous(c *tandemv1.PutRendezvous) (*tandemv1.Result, *refusal) {
	if n := len(c.GetKey()); n == 0 || n > rendezvousKeyLimit {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_OUT_OF_RANGE, "noun", "rendezvous key", "field", "length", "min", 1, "max", rendezvousKeyLimit, "given", n)
	}
	if n := len(c.GetValue()); n > rendezvousValueLimit {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_OUT_OF_RANGE, "noun", "rendezvous value", "field", "length", "min", 0, "max", rendezvousValueLimit, "given", n)
	}
	alloc, ok := a.Allocation(c.GetAllocationId())
	if !ok || alloc.GetGeneration() != c.GetGeneration() {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_GENERATION_NOT_COMMITTED, "given", c.GetGeneration(), "allocation", c.GetAllocationId())
	}
	id := state.RendezvousID(alloc.GetId(), alloc.GetGeneration(), c.GetKey())
	a.Put(&tandemv1.RendezvousEntry{Id: id, AllocationId: alloc.GetId(), Value: c.GetValue()})
	return done(id), nil
}

// forgetRendezvous forgets what the ranks of an allocation have exchanged.
func (a *applier) forgetRendezvous(allocation string) {
	for _, e := range a.RendezvousOf(allocation) {
		a.Delete(e)
	}
}
