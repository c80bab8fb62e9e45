package scheduler

import (
	"cmp"
	"slices"
)

// connected returns those nodes that one request may be placed on: available ones that all reach each other and the nodes that the work
// is on already, with as many slots as can be found. Begun with each node in turn, the one with the most slots comes next: for the few
// cuts that a network has at a time that is the best choice there is.
func connected(nodes []*node, with []string, slots func(*node) int) []*node {
	var candidates []*node
	unreachable := false
	for _, n := range nodes {
		if n.Unavailable == "" && !slices.ContainsFunc(with, func(id string) bool { return slices.Contains(n.Unreachable, id) }) {
			candidates = append(candidates, n)
			unreachable = unreachable || len(n.Unreachable) > 0
		}
	}
	if !unreachable {
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
			if n != first && !slices.ContainsFunc(chosen, func(o *node) bool { return slices.Contains(n.Unreachable, o.ID) }) {
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
		for _, other := range n.Unreachable {
			if i, ok := at[other]; ok && !slices.Contains(all[i].Unreachable, n.ID) {
				all[i].Unreachable = append(slices.Clone(all[i].Unreachable), n.ID)
			}
		}
	}
	return all
}
