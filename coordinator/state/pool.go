package state

import (
	"maps"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// What pools can be.
const (
	// OrderFifo: of those that wait with one priority the older goes first.
	OrderFifo = "fifo"
	// PlacementPack: on as few nodes as can be. PlacementSpread: over the nodes.
	PlacementPack   = "pack"
	PlacementSpread = "spread"
)

// PoolPolicy is the policy of a pool; of one that nobody has changed it is the default.
func PoolPolicy(v *View, name string) *tandemv1.PoolPolicy {
	if p, ok := get[*tandemv1.PoolPolicy](v, poolPolicyTable, name); ok {
		return p
	}
	return &tandemv1.PoolPolicy{Name: name, Order: OrderFifo, Placement: PlacementPack}
}

// PoolKnown says whether there is a pool: somebody has made it, or nodes are in it.
func PoolKnown(v *View, name string) bool {
	_, made := get[*tandemv1.PoolPolicy](v, poolPolicyTable, name)
	return made || slices.ContainsFunc(v.Nodes(), func(n *tandemv1.Node) bool { return n.GetPool() == name })
}

// RackOf is the rack of a node, by the policy of its pool; empty: it is not known.
func RackOf(n *tandemv1.Node, p *tandemv1.PoolPolicy) string {
	if p.GetRackLabel() == "" {
		return ""
	}
	return n.GetLabels()[p.GetRackLabel()]
}

// Pools are those that were made, or have nodes, by name; slots are those of nodes that are alive.
func Pools(v *View) []*tandemv1.Pool {
	byName := map[string]*tandemv1.Pool{}
	pool := func(name string) *tandemv1.Pool {
		if byName[name] == nil {
			byName[name] = &tandemv1.Pool{Name: name, Policy: PoolPolicy(v, name)}
		}
		return byName[name]
	}
	for _, p := range all[*tandemv1.PoolPolicy](v, poolPolicyTable) {
		pool(p.GetName())
	}
	for _, n := range v.Nodes() {
		p := pool(n.GetPool())
		p.Nodes++
		if n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE {
			p.Slots += int32(len(n.GetSlots()))              //nolint:gosec // slots of one machine
			p.SlotsUsed += int32(len(UsageOf(v, n.GetId()))) //nolint:gosec // slots of one machine
		}
	}
	var pools []*tandemv1.Pool
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		pools = append(pools, byName[name])
	}
	return pools
}
