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
