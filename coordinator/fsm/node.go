package fsm

import (
	"google.golang.org/protobuf/proto"

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

func (a *applier) registerNode(c *tandemv1.RegisterNode) *tandemv1.Result {
	seen := c.GetNode()
	if seen.GetId() == "" || seen.GetIncarnation() < 1 {
		return refuse(invalid, "a node needs an id and an incarnation from 1 on")
	}
	if removed, ok := a.RemovedNode(seen.GetId()); ok {
		return refuse(precondition, "%s", state.RemovedAdvice(removed))
	}
	old, known := a.Node(seen.GetId())
	if known && seen.GetIncarnation() < old.GetIncarnation() {
		return refuse(stale, "node %s has a newer session (incarnation %d, this is %d); end this agent", nodeName(old), old.GetIncarnation(), seen.GetIncarnation())
	}
	n := state.Clone(seen)
	n.State = tandemv1.NodeState_NODE_STATE_ALIVE
	n.Cordoned, n.Draining = old.GetCordoned(), old.GetDraining()
	n.Unreachable = old.GetUnreachable() // what an agent says of itself is no news of the network
	if seen.GetIncarnation() == old.GetIncarnation() {
		n.Fault = old.GetFault() // else it is tried again: whoever starts an agent may have mended what was wrong
	}
	n.JoinedAt = old.GetJoinedAt()
	n.StateChangedAt = old.GetStateChangedAt()
	n.ModifiedIndex = old.GetModifiedIndex()
	if !known {
		n.JoinedAt = a.now
	}
	if known && proto.Equal(n, old) {
		return done(n.GetId())
	}
	if old.GetState() != n.GetState() {
		n.StateChangedAt = a.now
	}
	a.Put(n)
	if known && n.GetIncarnation() > old.GetIncarnation() {
		// An agent ends all its engines before it starts again.
		a.loseEngines(n, "the agent of node "+nodeName(n)+" was started again")
	}
	switch {
	case !known:
		a.event(info, "node", n.GetId(), "", "Node %s joined pool %s with %s.", nodeName(n), n.GetPool(), count(len(n.GetSlots()), "slot"))
	case old.GetState() != n.GetState():
		a.event(info, "node", n.GetId(), "", "Node %s is back.", nodeName(n))
	case n.GetIncarnation() > old.GetIncarnation():
		a.event(info, "node", n.GetId(), "", "The agent of node %s was started again.", nodeName(n))
	}
	return done(n.GetId())
}

func (a *applier) loseNode(c *tandemv1.LoseNode) *tandemv1.Result {
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return refuse(notFound, "node %q is not there", c.GetNodeId())
	}
	if c.GetIncarnation() != n.GetIncarnation() {
		return refuse(stale, "node %s is at incarnation %d, not %d", nodeName(n), n.GetIncarnation(), c.GetIncarnation())
	}
	if n.GetState() == tandemv1.NodeState_NODE_STATE_LOST {
		return done(n.GetId())
	}
	a.event(warning, "node", n.GetId(), "", "Node %s was lost; its work is placed elsewhere.", nodeName(n))
	a.takeAway(n, "node "+nodeName(n)+" was lost")
	return done(n.GetId())
}

// leaveNode takes the word of an agent that it is about to stop: nothing is placed on its node until it is back.
func (a *applier) leaveNode(n *tandemv1.Node) {
	if n.GetState() == tandemv1.NodeState_NODE_STATE_LOST {
		return
	}
	a.event(info, "node", n.GetId(), "", "The agent of node %s was stopped; its work is placed elsewhere.", nodeName(n))
	a.takeAway(n, "the agent of node "+nodeName(n)+" was stopped")
}

// takeAway marks a node as lost and takes its engines away.
func (a *applier) takeAway(n *tandemv1.Node, why string) {
	n = state.Clone(n)
	n.State = tandemv1.NodeState_NODE_STATE_LOST
	n.StateChangedAt = a.now
	a.Put(n)
	a.loseEngines(n, why)
}

// loseEngines takes all members and replicas of a node away.
func (a *applier) loseEngines(n *tandemv1.Node, why string) {
	for _, alloc := range a.AllocationsOf(n.GetId()) {
		var here []int32
		for _, m := range alloc.GetMembers() {
			if m.GetNodeId() == n.GetId() {
				here = append(here, m.GetNumber())
			}
		}
		a.loseMembers(alloc, here, why, ofMachine)
	}
	for _, r := range a.ReplicasOn(n.GetId()) {
		if state.ReplicaLive(r.GetState()) {
			a.failReplica(r, why)
		}
	}
}

func (a *applier) cordonNode(c *tandemv1.CordonNode) *tandemv1.Result {
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return refuse(notFound, "node %q is not there; see what is with: tandem node list", c.GetNodeId())
	}
	if c.GetDrain() && !c.GetCordoned() {
		return refuse(invalid, "a node that is drained takes no new work: cordon it too")
	}
	tried := n.GetFault() != nil && !c.GetCordoned() // it is to take work, whatever is known against it
	if n.GetCordoned() == c.GetCordoned() && n.GetDraining() == c.GetDrain() && !tried {
		return done(n.GetId())
	}
	n = state.Clone(n)
	if tried {
		n.Fault = nil
	}
	n.Cordoned, n.Draining = c.GetCordoned(), c.GetDrain()
	a.Put(n)
	takes := "takes new work again"
	switch {
	case n.GetDraining():
		takes = "takes no new work, and what trains there goes elsewhere"
	case n.GetCordoned():
		takes = "takes no new work"
	}
	a.event(info, "node", n.GetId(), "", "Node %s %s, as %s asked.", nodeName(n), takes, a.who())
	return done(n.GetId())
}

func (a *applier) removeNode(c *tandemv1.RemoveNode) *tandemv1.Result {
	n, ok := a.Node(c.GetNodeId())
	if !ok {
		return refuse(notFound, "node %q is not there; see what is with: tandem node list", c.GetNodeId())
	}
	if n.GetState() != tandemv1.NodeState_NODE_STATE_LOST {
		return refuse(precondition, "node %s is alive; stop its agent, wait until the node is lost, then remove it", nodeName(n))
	}
	a.Delete(n)
	a.Put(&tandemv1.RemovedNode{Id: n.GetId(), Name: n.GetName(), RemovedAt: a.now})
	a.event(info, "node", n.GetId(), "", "Node %s was removed by %s.", nodeName(n), a.who())
	return done(n.GetId())
}

func (a *applier) removePeer(c *tandemv1.RemovePeer) *tandemv1.Result {
	id := c.GetPeerId()
	if id == "" {
		return refuse(invalid, "a coordinator needs an id")
	}
	if n, ok := a.Node(id); ok {
		return refuse(precondition, "%s is the node %s, not a coordinator: remove it with: tandem node remove %s", id, nodeName(n), id)
	}
	if _, ok := a.RemovedNode(id); ok {
		return done(id)
	}
	a.Put(&tandemv1.RemovedNode{Id: id, RemovedAt: a.now, Coordinator: true})
	a.event(info, "coordinator", id, "", "Coordinator %s was removed by %s.", id, a.who())
	return done(id)
}
