package state

import (
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// SlotDisabled says whether an operator lets a slot of a node take no work.
func SlotDisabled(n *tandemv1.Node, slot string) bool {
	return slices.ContainsFunc(n.GetDisabledSlots(), func(s *tandemv1.DisabledSlot) bool { return s.GetSlotId() == slot })
}

// SlotLeft says whether what runs on a slot of a node is to go elsewhere.
func SlotLeft(n *tandemv1.Node, slot string) bool { return n.GetDraining() || SlotDisabled(n, slot) }

// Suits says whether a node has the labels that a spec asks for.
func Suits(n *tandemv1.Node, p *tandemv1.PlacementSpec) bool {
	for key, value := range p.GetLabels() {
		if n.GetLabels()[key] != value {
			return false
		}
	}
	return true
}
