package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// UsageOf returns the slots in use on one node: slot id -> identity of the engine that holds it. A rank
// holds its slot until its whole allocation is removed; a replica until it fails or is removed.
func UsageOf(v *View, nodeID string) map[string]string {
	held := map[string]string{}
	for _, a := range v.AllocationsOf(nodeID) {
		for _, r := range a.GetRanks() {
			if r.GetNodeId() == nodeID {
				held[r.GetSlotId()] = EngineID(a.GetId(), r.GetRank())
			}
		}
	}
	for _, r := range v.ReplicasOn(nodeID) {
		if ReplicaLive(r.GetState()) {
			held[r.GetSlotId()] = r.GetId()
		}
	}
	return held
}

// HasSlot says whether a node offers a slot.
func HasSlot(n *tandemv1.Node, slot string) bool {
	for _, s := range n.GetSlots() {
		if s.GetId() == slot {
			return true
		}
	}
	return false
}
