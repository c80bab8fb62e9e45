package state

import (
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Rendezvous returns a value that a rank has set.
func (v *View) Rendezvous(allocation string, generation int64, key string) ([]byte, bool) {
	e, ok := get[*tandemv1.RendezvousEntry](v, rendezvousTable, RendezvousID(allocation, generation, key))
	return e.GetValue(), ok
}

// RendezvousOf returns all values of an allocation, by id.
func (v *View) RendezvousOf(allocation string) []*tandemv1.RendezvousEntry {
	return list[*tandemv1.RendezvousEntry](v, rendezvousTable, "allocation", allocation)
}

// AllRendezvous returns all values by id.
func (v *View) AllRendezvous() []*tandemv1.RendezvousEntry {
	return all[*tandemv1.RendezvousEntry](v, rendezvousTable)
}

// RendezvousID returns the identity of a value.
func RendezvousID(allocation string, generation int64, key string) string {
	return fmt.Sprintf("%s/%d/%s", allocation, generation, key)
}
