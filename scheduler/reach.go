package scheduler

import (
	"cmp"
	"slices"
)

// together returns those nodes that one request may be placed on: available ones that all reach each other and the nodes that the work
// is on already, with as many slots as can be found. Begun with each node in turn, the one with the most slots comes next: for the few
// cuts that a network has at a time that is the best choice there is.
func together(nodes []*node, with []string, slots func(*node) int) []*node {
	var candidates []*node
	parted := false
	for _, n := range nodes {
		if n.Unavailable == "" && !slices.ContainsFunc(with, func(id string) bool { return slices.Contains(n.Parted, id) }) {
			candidates = append(candidates, n)
			parted = parted || len(n.Parted) > 0
		}
	}
	if !parted {
		return candidates
	}
	slices.SortFunc(candidates, func(a, b *node) int {
		return cmp.Or(cmp.Compare(slots(b), slots(a)), cmp.Compare(a.rank, b.rank))
	})
	var best []*node
	most := -1
	for _, first := range candidates {
		chosen, total := []*node{first}, slots(first)
		for _, n := range candidates {
			if n != first && !slices.ContainsFunc(chosen, func(o *node) bool { return slices.Contains(n.Parted, o.ID) }) {
				chosen = append(chosen, n)
				total += slots(n)
			}
		}
		if total > most {
			best, most = chosen, total
		}
	}
	return best
}

// bothWays has each of two nodes know that they do not reach each other, whichever of them said so.
func bothWays(nodes []Node) []Node {
	all := slices.Clone(nodes)
	at := make(map[string]int, len(nodes))
	for i, n := range nodes {
		at[n.ID] = i
	}
	for _, n := range nodes {
		for _, other := range n.Parted {
			if i, ok := at[other]; ok && !slices.Contains(all[i].Parted, n.ID) {
				all[i].Parted = append(slices.Clone(all[i].Parted), n.ID)
			}
		}
	}
	return all
}
