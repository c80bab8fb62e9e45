package scheduler

import (
	"cmp"
	"slices"
)

// together returns the part of a pool that one request may be placed on: available nodes that all reach each other and the nodes
// that the work is on already, with as many slots as can be found. Begun with each node in turn, the one with the most slots comes
// next: for the few cuts that a network has at a time that is the best choice there is.
func together(nodes []Node, with []string, slots func(Node) int) *pool {
	var candidates []Node
	parted := false
	for _, n := range nodes {
		if n.Unavailable == "" && !slices.ContainsFunc(with, func(id string) bool { return slices.Contains(n.Parted, id) }) {
			candidates = append(candidates, n)
			parted = parted || len(n.Parted) > 0
		}
	}
	if !parted {
		return &pool{candidates}
	}
	slices.SortFunc(candidates, func(a, b Node) int {
		return cmp.Or(cmp.Compare(slots(b), slots(a)), cmp.Compare(a.ID, b.ID))
	})
	var best []Node
	most := -1
	for _, first := range candidates {
		chosen, total := []Node{first}, slots(first)
		for _, n := range candidates {
			if n.ID != first.ID && !slices.ContainsFunc(chosen, func(o Node) bool { return slices.Contains(n.Parted, o.ID) }) {
				chosen = append(chosen, n)
				total += slots(n)
			}
		}
		if total > most {
			best, most = chosen, total
		}
	}
	return &pool{best}
}

// without are the nodes of a pool but for some.
func (p *pool) without(ids []string) []Node {
	return slices.DeleteFunc(slices.Clone(p.nodes), func(n Node) bool { return slices.Contains(ids, n.ID) })
}

// bothWays has each of two nodes know that they do not reach each other, whichever of them said so.
func bothWays(nodes []Node) []Node {
	all := slices.Clone(nodes)
	for i, n := range nodes {
		for _, o := range nodes {
			if slices.Contains(o.Parted, n.ID) && !slices.Contains(all[i].Parted, o.ID) {
				all[i].Parted = append(slices.Clone(all[i].Parted), o.ID)
			}
		}
	}
	return all
}

// free and available are what together counts: slots nobody holds, and all that work could ever hold.
func free(n Node) int      { return len(n.Free) }
func available(n Node) int { return n.Slots - n.Serving }
