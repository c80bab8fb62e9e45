package state

import tandemv1 "tandem.dev/proto/tandem/v1"

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

// RemovedNode returns the record of a node, or a coordinator, that was removed from the cluster.
func (v *View) RemovedNode(id string) (*tandemv1.RemovedNode, bool) {
	return get[*tandemv1.RemovedNode](v, removedTable, id)
}

// RemovedNodes returns the records of all nodes that were removed, by id.
func (v *View) RemovedNodes() []*tandemv1.RemovedNode {
	return all[*tandemv1.RemovedNode](v, removedTable)
}

// RemovedAdvice says to people that a node was removed, and what to do next.
func RemovedAdvice(n *tandemv1.RemovedNode) string {
	if n.GetCoordinator() {
		return "coordinator " + n.GetId() + " was removed from the cluster: to use the machine again, empty its data folder and join with a new token (tandem token create --join --role coordinator)"
	}
	name := n.GetName()
	if name == "" {
		name = n.GetId()
	}
	return "node " + name + " was removed from the cluster: to use the machine again, empty the data folder of its agent and join with a new token (tandem token create --join --role worker)"
}
