package fsm

import (
	"maps"
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// labelNode changes the labels of a node. What runs there goes on, also where a spec asked for other ones.
func labelNode(a *applier, c *tandemv1.LabelNode) (*tandemv1.Result, *refusal) {
	n, ok := a.Node(c.GetNodeId())
	labels := state.Labelled(n.GetLabels(), c.GetLabels())
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	case len(labels) > state.MaxLabels:
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_TOO_MANY_LABELS, "noun", "node", "name", nodeName(n), "most", state.MaxLabels)
	case !maps.Equal(labels, n.GetLabels()):
		edit(a, a.Node, n.GetId(), func(n *tandemv1.Node) { n.Labels = labels })
		a.record(infoLevel, tandemv1.Event_TYPE_NODE_LABELLED, aboutNode(n), nil, "labels", state.LabelText(labels), "by", a.actor)
	}
	return done(n.GetId()), nil
}

// setSlot says whether one slot of a node takes work. What follows for what runs there the leader decides.
func setSlot(a *applier, c *tandemv1.SetSlot) (*tandemv1.Result, *refusal) {
	n, ok := a.Node(c.GetNodeId())
	disabled := state.SlotDisabled(n, c.GetSlotId())
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	case c.GetDisabled() && !state.HasSlot(n, c.GetSlotId()): // one that is gone can be enabled
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_SLOT_UNKNOWN, "node", nodeName(n), "slot", c.GetSlotId())
	case disabled == c.GetDisabled():
		return done(n.GetId()), nil
	}
	edit(a, a.Node, n.GetId(), func(n *tandemv1.Node) {
		n.DisabledSlots = slices.DeleteFunc(n.DisabledSlots, func(s *tandemv1.DisabledSlot) bool { return s.GetSlotId() == c.GetSlotId() })
		if c.GetDisabled() {
			n.DisabledSlots = append(n.DisabledSlots, &tandemv1.DisabledSlot{SlotId: c.GetSlotId(), Reason: c.GetReason()})
		}
	})
	what := tandemv1.Event_TYPE_SLOT_ENABLED
	if c.GetDisabled() {
		what = tandemv1.Event_TYPE_SLOT_DISABLED
	}
	a.record(infoLevel, what, aboutNode(n), words(c.GetReason()), "slot", c.GetSlotId(), "by", a.actor)
	return done(n.GetId()), nil
}
