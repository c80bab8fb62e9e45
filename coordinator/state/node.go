package state

import (
	"cmp"
	"slices"
	"strings"
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

// Faulty says whether nothing may be placed on a node yet because it could not run an engine, or because its disk takes nothing.
func Faulty(n *tandemv1.Node, now time.Time) bool {
	return len(n.GetFullFolders()) > 0 || n.GetFault().GetUntil().AsTime().After(now)
}

// DiskFull says in which folders of a node nothing can be written; nil: in all that it needs something can.
func DiskFull(n *tandemv1.Node) *tandemv1.Reason {
	var folders []string
	for _, f := range n.GetFullFolders() {
		folders = append(folders, f.GetPath()+" ("+f.GetCause()+")")
	}
	if len(folders) == 0 {
		return nil
	}
	return NewReason(tandemv1.Reason_CODE_NODE_DISK_FULL, "node", nodeName(n), "node_id", n.GetId(), "folders", strings.Join(folders, ", "))
}

// DiskNews is the event, and its level, that a change of the folders of a node makes; "": none.
func DiskNews(n, old *tandemv1.Node) (what tandemv1.Event_Type, level string) {
	same := func(x, y *tandemv1.FullFolder) bool { return x.GetPath() == y.GetPath() }
	switch full, before := n.GetFullFolders(), old.GetFullFolders(); {
	case len(full) == 0 && len(before) > 0:
		return tandemv1.Event_TYPE_NODE_DISK_WRITABLE, "info"
	case !slices.EqualFunc(full, before, same):
		return tandemv1.Event_TYPE_NODE_DISK_FULL, "warning"
	}
	return tandemv1.Event_TYPE_UNSPECIFIED, ""
}

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

// Unreachable returns for each node those that it did not reach of late, or that did not reach it: no process group can have ranks on
// both.
func Unreachable(v *View, now time.Time) map[string][]string {
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

// WhyUnreachable says what is wrong between two nodes that do not reach each other.
func WhyUnreachable(a, b *tandemv1.Node) *tandemv1.Reason {
	filtered := func(of, other *tandemv1.Node) bool {
		return slices.ContainsFunc(of.GetUnreachable(), func(u *tandemv1.Unreachable) bool {
			return u.GetNodeId() == other.GetId() && u.GetFiltered()
		})
	}
	r := NewReason(tandemv1.Reason_CODE_NODES_PARTED, "node", nodeName(a), "node_id", a.GetId(), "other", nodeName(b), "other_id", b.GetId())
	if filtered(a, b) || filtered(b, a) {
		r.Args["filtered"] = "true"
	}
	return r
}

// nodeName names a node for people.
func nodeName(n *tandemv1.Node) string { return cmp.Or(n.GetName(), n.GetId()) }

// NodeName is what people call a node, its identity if nothing else is known.
func (v *View) NodeName(id string) string {
	n, _ := v.Node(id)
	return cmp.Or(n.GetName(), id)
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
		return NewReason(tandemv1.Reason_CODE_COORDINATOR_REMOVED, "coordinator", n.GetId())
	}
	return NewReason(tandemv1.Reason_CODE_NODE_REMOVED, "node", cmp.Or(n.GetName(), n.GetId()), "node_id", n.GetId())
}

// StandsFor says whether a node has taken the place of a lost one: a machine that has lost its disk joins again under another identity,
// with the name and the address it had. At another address, or while the old one is alive, a node of the same name is another machine.
func StandsFor(n, lost *tandemv1.Node) bool {
	return n.GetId() != lost.GetId() && n.GetName() != "" && n.GetName() == lost.GetName() && n.GetAddress() == lost.GetAddress() &&
		n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE && lost.GetState() == tandemv1.NodeState_NODE_STATE_LOST
}
