package state

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Node returns a node.
func (v *View) Node(id string) (*tandemv1.Node, bool) { return get[*tandemv1.Node](v, nodeTable, id) }

// Nodes returns all nodes by id.
func (v *View) Nodes() []*tandemv1.Node { return all[*tandemv1.Node](v, nodeTable) }

// ResolveNode finds a node by id, name, or a unique prefix of an id.
// It fails with ErrNotFound or ErrAmbiguous.
func (v *View) ResolveNode(ref string) (*tandemv1.Node, error) {
	return resolve(v, nodeTable, "node", "node-", ref, func(name string) []*tandemv1.Node {
		return list[*tandemv1.Node](v, nodeTable, "name", name)
	})
}

// Faulty says whether nothing may be placed on a node yet because it could not run an engine.
func Faulty(n *tandemv1.Node, now time.Time) bool { return n.GetFault().GetUntil().AsTime().After(now) }

// TriedAgain is when the first node that is avoided because of a fault, or together with another that it did not reach, is tried
// again; zero when there is none.
func TriedAgain(v *View, now time.Time) (first time.Time) {
	for _, n := range v.Nodes() {
		ends := []time.Time{n.GetFault().GetUntil().AsTime()}
		for _, u := range n.GetUnreachable() {
			ends = append(ends, u.GetUntil().AsTime())
		}
		for _, end := range ends {
			if end.After(now) && (first.IsZero() || end.Before(first)) {
				first = end
			}
		}
	}
	return first
}

// Parted returns for each node those that it did not reach of late, or that did not reach it: no process group can have ranks on
// both.
func Parted(v *View, now time.Time) map[string][]string {
	from := map[string][]string{}
	for _, n := range v.Nodes() {
		for _, u := range n.GetUnreachable() {
			if !u.GetUntil().AsTime().After(now) {
				continue
			}
			for _, ends := range [][2]string{{n.GetId(), u.GetNodeId()}, {u.GetNodeId(), n.GetId()}} {
				if !slices.Contains(from[ends[0]], ends[1]) {
					from[ends[0]] = append(from[ends[0]], ends[1])
				}
			}
		}
	}
	return from
}

// Cut says for people what is wrong between two nodes that do not reach each other, and what to do.
func Cut(a, b *tandemv1.Node) (what, advice string) {
	filtered := func(of, other *tandemv1.Node) bool {
		return slices.ContainsFunc(of.GetUnreachable(), func(u *tandemv1.Unreachable) bool {
			return u.GetNodeId() == other.GetId() && u.GetFiltered()
		})
	}
	first, second := cmp.Or(a.GetName(), a.GetId()), cmp.Or(b.GetName(), b.GetId())
	if filtered(a, b) || filtered(b, a) {
		return fmt.Sprintf("nodes %s and %s reach each other's agents, but not each other's engines", first, second),
			"let TCP through between them, both ways, on the ports that sysctl net.ipv4.ip_local_port_range shows there (32768 to 60999 unless somebody changed it)"
	}
	return fmt.Sprintf("nodes %s and %s do not reach each other, though both reach the coordinators", first, second),
		"check the network between them"
}

// Reach says whether two nodes count as ones that reach each other.
func Reach(a, b *tandemv1.Node, now time.Time) bool {
	unreached := func(of *tandemv1.Node, other string) bool {
		return slices.ContainsFunc(of.GetUnreachable(), func(u *tandemv1.Unreachable) bool {
			return u.GetNodeId() == other && u.GetUntil().AsTime().After(now)
		})
	}
	return !unreached(a, b.GetId()) && !unreached(b, a.GetId())
}

// RemovedNode returns the record of a node, or a coordinator, that was removed from the cluster.
func (v *View) RemovedNode(id string) (*tandemv1.RemovedNode, bool) {
	return get[*tandemv1.RemovedNode](v, removedTable, id)
}

// RemovedNodes returns the records of all nodes that were removed, by id.
func (v *View) RemovedNodes() []*tandemv1.RemovedNode {
	return all[*tandemv1.RemovedNode](v, removedTable)
}

// WhyRemoved says that a node, or a coordinator, was removed.
func WhyRemoved(n *tandemv1.RemovedNode) *tandemv1.Reason {
	if n.GetCoordinator() {
		return &tandemv1.Reason{Code: tandemv1.Reason_CODE_COORDINATOR_REMOVED, Args: map[string]string{"coordinator": n.GetId()}}
	}
	return &tandemv1.Reason{Code: tandemv1.Reason_CODE_NODE_REMOVED, Args: map[string]string{"node": cmp.Or(n.GetName(), n.GetId()), "node_id": n.GetId()}}
}
