package fsm

import (
	tandemv1 "tandem.dev/proto/tandem/v1"

	"tandem.dev/coordinator/state"
)

const (
	rendezvousKeyLimit   = 256
	rendezvousValueLimit = 64 << 10
)

func (a *applier) putRendezvous(c *tandemv1.PutRendezvous) *tandemv1.Result {
	if n := len(c.GetKey()); n == 0 || n > rendezvousKeyLimit {
		return refuse(invalid, "a key of %d bytes, it must have 1 to %d", n, rendezvousKeyLimit)
	}
	if n := len(c.GetValue()); n > rendezvousValueLimit {
		return refuse(invalid, "a value of %d bytes, the limit is %d", n, rendezvousValueLimit)
	}
	alloc, ok := a.Allocation(c.GetAllocationId())
	if !ok || alloc.GetGeneration() != c.GetGeneration() {
		return refuse(stale, "generation %d is not the committed one of allocation %s; wait for the next, or end the engine", c.GetGeneration(), c.GetAllocationId())
	}
	id := state.RendezvousID(alloc.GetId(), alloc.GetGeneration(), c.GetKey())
	a.Put(&tandemv1.RendezvousEntry{Id: id, AllocationId: alloc.GetId(), Value: c.GetValue()})
	return done(id)
}

// forgetRendezvous forgets what the ranks of an allocation have exchanged.
func (a *applier) forgetRendezvous(allocation string) {
	for _, e := range a.RendezvousOf(allocation) {
		a.Delete(e)
	}
}
