package fsm

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// How long nothing is placed on two nodes that do not reach each other: nobody else finds out that they do again, so they are tried
// again, after a time that doubles.
const (
	firstUnreachableTime   = time.Minute
	longestUnreachableTime = time.Hour
)

// unreachableReport is what an engine says of nodes that it does not reach. Filtered are those whose agents its own does reach.
type unreachableReport interface {
	GetUnreachable() []string
	GetFiltered() []string
}

// noteUnreachable notes which nodes of an allocation's group ranks on a node do not reach.
func (a *applier) noteUnreachable(alloc *tandemv1.Allocation, node string, c unreachableReport) {
	for _, other := range c.GetUnreachable() {
		inGroup := func(m *tandemv1.Member) bool { return m.GetNodeId() == other && state.InGroup(m) }
		if other != node && slices.ContainsFunc(alloc.GetMembers(), inGroup) {
			a.setUnreachable(node, other, slices.Contains(c.GetFiltered(), other))
		}
	}
}

// setUnreachable notes that two nodes do not reach each other. Several ranks, and both sides, may find the same cut: the first to say so
// counts.
func (a *applier) setUnreachable(node, other string, filtered bool) {
	n, ok := a.Node(node)
	o, known := a.Node(other)
	if !ok || !known {
		return
	}
	if !state.Reach(n, o, a.now.AsTime()) {
		return
	}
	times := max(unreachable(n, other).GetTimes(), unreachable(o, n.GetId()).GetTimes())
	pause := min(firstUnreachableTime<<min(times, 20), longestUnreachableTime)
	n = edit(a, a.Node, node, func(n *tandemv1.Node) {
		u := unreachable(n, other)
		if u == nil {
			u = &tandemv1.Unreachable{NodeId: other}
			n.Unreachable = append(n.Unreachable, u)
		}
		u.Times, u.Until, u.Filtered = times+1, timestamppb.New(a.now.AsTime().Add(pause)), filtered
	})
	a.record(warningLevel, tandemv1.Event_TYPE_NODES_PARTED, aboutNode(n), state.WhyUnreachable(n, o), "pause", pause)
}

// noteReached notes that the nodes of a group that was formed reach each other.
func (a *applier) noteReached(alloc *tandemv1.Allocation) {
	grouped := map[string]bool{}
	for _, m := range alloc.GetMembers() {
		if state.InGroup(m) {
			grouped[m.GetNodeId()] = true
		}
	}
	for _, m := range alloc.GetMembers() {
		n, ok := a.Node(m.GetNodeId())
		if !ok || !grouped[n.GetId()] {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(n.GetUnreachable()), func(u *tandemv1.Unreachable) bool { return grouped[u.GetNodeId()] })
		if len(left) == len(n.GetUnreachable()) {
			continue
		}
		edit(a, a.Node, n.GetId(), func(n *tandemv1.Node) { n.Unreachable = left })
		a.record(infoLevel, tandemv1.Event_TYPE_NODES_REACHED, aboutNode(n), nil)
	}
}

// unreachable is what a node keeps of another that it did not reach; nil: nothing.
func unreachable(n *tandemv1.Node, other string) *tandemv1.Unreachable {
	i := slices.IndexFunc(n.GetUnreachable(), func(u *tandemv1.Unreachable) bool { return u.GetNodeId() == other })
	if i < 0 {
		return nil
	}
	return n.GetUnreachable()[i]
}
