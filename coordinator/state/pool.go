package state

import (
	"maps"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Pools counts slots by pool, of nodes that are alive.
func Pools(v *View) []*tandemv1.Pool {
	byName := map[string]*tandemv1.Pool{}
	for _, n := range v.Nodes() {
		p := byName[n.GetPool()]
		if p == nil {
			p = &tandemv1.Pool{Name: n.GetPool()}
			byName[p.GetName()] = p
		}
		p.Nodes++
		if n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE {
			p.Slots += int32(len(n.GetSlots()))              //nolint:gosec // slots of one machine
			p.SlotsUsed += int32(len(UsageOf(v, n.GetId()))) //nolint:gosec // slots of one machine
		}
	}
	var all []*tandemv1.Pool
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}
