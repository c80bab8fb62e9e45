package fsm

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// nodeName names a node for people.
func nodeName(n *tandemv1.Node) string {
	if n.GetName() == "" {
		return n.GetId()
	}
	return n.GetName()
}

// nodeReason is a reason that is about a node alone.
func nodeReason(n *tandemv1.Node, code tandemv1.Reason_Code) *tandemv1.Reason {
	return reason(code, "node", nodeName(n), "node_id", n.GetId())
}

func (a *applier) registerNode(c *tandemv1.RegisterNode) (*tandemv1.Result, *refusal) {
	seen := c.GetNode()
	switch {
	case seen.GetId() == "":
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "node", "field", "id")
	case seen.GetIncarnation() < 1:
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "node", "field", "incarnation")
	}
	if removed, ok := a.RemovedNode(seen.GetId()); ok {
		return nil, &refusal{codePrecondition, state.WhyRemoved(removed)}
	}
	old, known := a.Node(seen.GetId())
	if known && seen.GetIncarnation() < old.GetIncarnation() {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_NODE_INCARNATION, "node", nodeName(old), "current", old.GetIncarnation(), "given", seen.GetIncarnation())
	}
	n := state.Clone(seen)
	n.State = tandemv1.NodeState_NODE_STATE_ALIVE
	n.Cordoned, n.Draining = old.GetCordoned(), old.GetDraining()
	n.CordonReason, n.DrainDeadline = old.GetCordonReason(), old.GetDrainDeadline()
	n.Labels, n.DisabledSlots = old.GetLabels(), old.GetDisabledSlots()
	n.KeysVersion, n.Authority, n.CertificateExpiresAt = old.GetKeysVersion(), old.GetAuthority(), old.GetCertificateExpiresAt()
	n.ClockOffset, n.ExpiryNoted = old.GetClockOffset(), old.GetExpiryNoted()
	n.Unreachable = old.GetUnreachable() // what an agent says of itself is no news of the network
	if seen.GetIncarnation() == old.GetIncarnation() {
		n.Fault = old.GetFault() // else it is tried again: whoever starts an agent may have mended what was wrong
	}
	n.JoinedAt = old.GetJoinedAt()
	n.StateChangedAt = old.GetStateChangedAt()
	n.ModifiedIndex = old.GetModifiedIndex()
	if !known {
		n.JoinedAt = a.now
		a.replaceLost(n)
	}
	if known && proto.Equal(n, old) {
		return done(n.GetId()), nil
	}
	if old.GetState() != n.GetState() {
		n.StateChangedAt = a.now
	}
	a.Put(n)
	if known && n.GetIncarnation() > old.GetIncarnation() {
		// An agent ends all its engines before it starts again.
		a.loseEngines(n.GetId(), nodeReason(n, tandemv1.Reason_CODE_AGENT_RESTARTED))
	}
	if what, level := state.DiskNews(n, old); level != "" {
		a.record(level, what, aboutNode(n), state.DiskFull(n))
	}
	switch {
	case !known:
		a.record(infoLevel, tandemv1.Event_TYPE_NODE_JOINED, aboutNode(n), nil, "pool", n.GetPool(), "slots", len(n.GetSlots()))
	case old.GetState() != n.GetState():
		a.record(infoLevel, tandemv1.Event_TYPE_NODE_BACK, aboutNode(n), nil)
	case n.GetIncarnation() > old.GetIncarnation():
		a.record(infoLevel, tandemv1.Event_TYPE_AGENT_RESTARTED, aboutNode(n), nil)
	}
	return done(n.GetId()), nil
}

// replaceLost forgets the lost node whose place a new one takes. That the operator lets it take no work is kept. Its certificate
// stays valid, for all that is known of the new one is what its agent says: an agent must not be able to shut out another node.
func (a *applier) replaceLost(n *tandemv1.Node) {
	for _, old := range a.Nodes() {
		if state.StandsFor(n, old) {
			n.Cordoned, n.Draining = n.GetCordoned() || old.GetCordoned(), n.GetDraining() || old.GetDraining()
			if n.Labels = state.Labelled(old.GetLabels(), n.GetLabels()); n.GetCordonReason() == "" {
				n.CordonReason, n.DrainDeadline = old.GetCordonReason(), old.GetDrainDeadline()
			}
			a.Delete(old)
			a.record(warningLevel, tandemv1.Event_TYPE_NODE_REPLACED, aboutNode(old), nil, "address", n.GetAddress(), "by", n.GetId())
		}
	}
}

func (a *applier) loseNode(c *tandemv1.LoseNode) (*tandemv1.Result, *refusal) {
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	}
	if c.GetIncarnation() != n.GetIncarnation() {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_NODE_INCARNATION, "node", nodeName(n), "current", n.GetIncarnation(), "given", c.GetIncarnation())
	}
	if n.GetState() == tandemv1.NodeState_NODE_STATE_LOST {
		return done(n.GetId()), nil
	}
	a.record(warningLevel, tandemv1.Event_TYPE_NODE_LOST, aboutNode(n), nil)
	n = a.takeAway(n.GetId(), nodeReason(n, tandemv1.Reason_CODE_NODE_LOST))
	for _, other := range a.Nodes() { // it may have joined again before it was missed
		if state.StandsFor(other, n) {
			edit(a, a.Node, other.GetId(), a.replaceLost)
			break
		}
	}
	return done(n.GetId()), nil
}

// leaveNode takes the word of an agent that it is about to stop: nothing is placed on its node until it is back.
func (a *applier) leaveNode(id string) {
	n, _ := a.Node(id)
	if n.GetState() == tandemv1.NodeState_NODE_STATE_LOST {
		return
	}
	a.record(infoLevel, tandemv1.Event_TYPE_AGENT_STOPPED, aboutNode(n), nil)
	a.takeAway(id, nodeReason(n, tandemv1.Reason_CODE_AGENT_STOPPED))
}

// takeAway marks a node as lost, takes its engines away, and returns it as it is then.
func (a *applier) takeAway(id string, why *tandemv1.Reason) *tandemv1.Node {
	edit(a, a.Node, id, func(n *tandemv1.Node) {
		n.State = tandemv1.NodeState_NODE_STATE_LOST
		n.StateChangedAt = a.now
	})
	a.loseEngines(id, why)
	n, _ := a.Node(id)
	return n
}

// loseEngines takes all members and replicas of a node away.
func (a *applier) loseEngines(node string, why *tandemv1.Reason) {
	for _, alloc := range a.AllocationsOf(node) {
		var here []int32
		for _, m := range alloc.GetMembers() {
			if m.GetNodeId() == node {
				here = append(here, m.GetNumber())
			}
		}
		a.loseMembers(alloc, here, why, ofMachine)
		a.followAll()
	}
	for _, r := range a.ReplicasOn(node) {
		if state.ReplicaLive(r.GetState()) {
			a.failReplica(r, why)
		}
	}
}

func (a *applier) cordonNode(c *tandemv1.CordonNode) (*tandemv1.Result, *refusal) {
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	}
	if c.GetDrain() && !c.GetCordoned() || c.GetDeadline() != nil && !c.GetDrain() {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_DRAIN_WITHOUT_CORDON)
	}
	tried := n.GetFault() != nil && !c.GetCordoned() // it is to take work, whatever is known against it
	same := n.GetCordoned() == c.GetCordoned() && n.GetDraining() == c.GetDrain() && n.GetCordonReason() == c.GetReason()
	if same && c.GetDeadline() == nil && n.GetDrainDeadline() == nil && !tried {
		return done(n.GetId()), nil
	}
	n = edit(a, a.Node, n.GetId(), func(n *tandemv1.Node) {
		if tried {
			n.Fault = nil
		}
		n.Cordoned, n.Draining = c.GetCordoned(), c.GetDrain()
		if n.CordonReason, n.DrainDeadline = c.GetReason(), nil; c.GetDeadline() != nil {
			n.DrainDeadline = timestamppb.New(a.now.AsTime().Add(c.GetDeadline().AsDuration()))
		}
	})
	what := tandemv1.Event_TYPE_NODE_UNCORDONED
	switch {
	case n.GetDraining():
		what = tandemv1.Event_TYPE_NODE_DRAINED
	case n.GetCordoned():
		what = tandemv1.Event_TYPE_NODE_CORDONED
	}
	args := []any{"by", a.actor}
	if c.GetDeadline() != nil {
		args = append(args, "deadline", c.GetDeadline().AsDuration())
	}
	a.record(infoLevel, what, aboutNode(n), words(n.GetCordonReason()), args...)
	return done(n.GetId()), nil
}

func (a *applier) removeNode(c *tandemv1.RemoveNode) (*tandemv1.Result, *refusal) {
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	}
	if n.GetState() != tandemv1.NodeState_NODE_STATE_LOST {
		if !c.GetForce() {
			return nil, refuse(codePrecondition, tandemv1.Reason_CODE_NODE_ALIVE, "node", nodeName(n))
		}
		n = a.takeAway(n.GetId(), nodeReason(n, tandemv1.Reason_CODE_NODE_REMOVED))
	}
	a.Delete(n)
	a.Put(&tandemv1.RemovedNode{Id: n.GetId(), Name: n.GetName(), RemovedAt: a.now})
	a.record(infoLevel, tandemv1.Event_TYPE_NODE_REMOVED, aboutNode(n), nil, "by", a.actor)
	return done(n.GetId()), nil
}

func (a *applier) removePeer(c *tandemv1.RemovePeer) (*tandemv1.Result, *refusal) {
	id := c.GetPeerId()
	if id == "" {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "coordinator", "field", "id")
	}
	if n, ok := a.Node(id); ok {
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_NOT_A_COORDINATOR, "id", id, "node", nodeName(n))
	}
	if _, ok := a.RemovedNode(id); ok {
		return done(id), nil
	}
	a.Put(&tandemv1.RemovedNode{Id: id, RemovedAt: a.now, Coordinator: true})
	if c, ok := a.Program(id); ok {
		a.Delete(c)
	}
	a.record(infoLevel, tandemv1.Event_TYPE_COORDINATOR_REMOVED, aboutCoordinator(id), nil, "by", a.actor)
	return done(id), nil
}
