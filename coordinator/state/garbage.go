package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// GarbageAt returns the garbage that has a prefix of the store for its own.
func (v *View) GarbageAt(prefix string) (*tandemv1.Garbage, bool) {
	return get[*tandemv1.Garbage](v, garbageTable, prefix)
}

// Garbage returns all parts of the store whose owners were deleted, by prefix.
func (v *View) Garbage() []*tandemv1.Garbage { return all[*tandemv1.Garbage](v, garbageTable) }
