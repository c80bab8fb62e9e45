package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// UsageOf returns the slots in use on one node: slot id -> identity of the engine that holds it. A member
// holds its slot until it is removed from its allocation, or that is; a replica until it fails or is removed.
func UsageOf(v *View, nodeID string) map[string]string {
	held := map[string]string{}
	for _, a := range v.AllocationsOf(nodeID) {
		for _, m := range a.GetMembers() {
			if m.GetNodeId() == nodeID {
				held[m.GetSlotId()] = EngineID(a.GetId(), m.GetNumber())
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
