package state

import (
	"slices"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// GarbageAt returns the garbage that has a prefix of the store for its own.
func (v *View) GarbageAt(prefix string) (*tandemv1.Garbage, bool) {
	return get[*tandemv1.Garbage](v, garbageTable, prefix)
}

// GarbageBelow says whether there is garbage with a prefix that begins so.
func (v *View) GarbageBelow(prefix string) bool {
	return slices.ContainsFunc(v.Garbage(), func(g *tandemv1.Garbage) bool { return strings.HasPrefix(g.GetId(), prefix) })
}

// Garbage returns all parts of the store whose owners were deleted, by prefix.
func (v *View) Garbage() []*tandemv1.Garbage { return all[*tandemv1.Garbage](v, garbageTable) }

// LastNumber returns the last number that was given to a version of a noun ("model", "dataset") by its name, when the newest was deleted.
func (v *View) LastNumber(noun, name string) int64 {
	n, _ := get[*tandemv1.Numbering](v, numberingTable, NumberingID(noun, name))
	return n.GetLast()
}

// NumberingID returns the identity of the row that LastNumber reads.
func NumberingID(noun, name string) string { return noun + "/" + name }
