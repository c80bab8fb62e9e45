package scheduler

import (
	"cmp"
	"slices"
)

// place takes slots for a request; nil when too few are free on nodes that reach each other. near are those. Nodes that it should avoid
// come last.
func (p *pool) place(r Request) (placements []Placement, near int) {
	if !p.unreachable && len(r.Avoid)+len(r.Labels)+len(p.held) == 0 && !r.Whole {
		if p.free < r.least() {
			return nil, p.free
		}
		return p.take(&p.index, p.nodes, min(r.Slots, p.free)), p.free
	}
	all := p.open(r)
	if r.Whole && len(r.With) > 0 {
		mine := slices.DeleteFunc(slices.Clone(all), func(n *node) bool { return n.free() == 0 || !slices.Contains(r.With, n.ID) })
		if near = sum(mine, (*node).free); near >= r.least() {
			return p.take(indexOf(mine), mine, min(r.Slots, near)), near
		}
	}
	others := slices.DeleteFunc(slices.Clone(all), func(n *node) bool { return slices.Contains(r.Avoid, n.ID) })
	for _, nodes := range [][]*node{others, all} {
		fits := connected(nodes, r.With, (*node).free)
		if r.Whole {
			fits = wholes(slices.DeleteFunc(slices.Clone(fits), (*node).shared), r.Slots, (*node).free)
		}
		if near = sum(fits, (*node).free); near < r.least() {
			continue
		}
		return p.take(indexOf(fits), fits, min(r.Slots, near)), near
	}
	return nil, near
}

// take takes slots of nodes, which are in an index, one node after the other; there are as many at least.
func (p *pool) take(x *index, nodes []*node, slots int) []Placement {
	placements := make([]Placement, 0, slots)
	p.free -= slots
	if nodes[0].Spread {
		return p.spread(x, slots, placements)
	}
	for _, n := range choose(x, nodes, slots) {
		some := min(slots-len(placements), n.free())
		placements = n.take(some, placements)
		p.add(n)
	}
	return placements
}

// choose takes nodes for a number of slots out of an index, so that ranks are near each other and whole nodes are left whole: the node with the
// least free slots that holds all; else nodes of the rack with the least free slots that holds all; else of any.
func choose(x *index, nodes []*node, slots int) []*node {
	if n := x.least(slots); n != nil {
		return []*node{n}
	}
	if rack := rackFor(nodes, slots); rack != nil {
		x = indexOf(rack)
	}
	return x.fewest(slots)
}

// rackFor are the nodes of the rack with the least free slots that are so many; nil: there is none. Nodes of no rack are in none.
func rackFor(nodes []*node, slots int) []*node {
	racks := map[string][]*node{}
	for _, n := range nodes {
		if n.Rack != "" && n.Unavailable == "" {
			racks[n.Rack] = append(racks[n.Rack], n)
		}
	}
	best, least := "", 0
	for rack, in := range racks {
		free := sum(in, (*node).free)
		if free >= slots && (best == "" || free < least || free == least && rack < best) {
			best, least = rack, free
		}
	}
	return racks[best]
}

// spread takes slots one by one, each of the node that has the most. Those of one node are given one after the other, as ranks are.
func (p *pool) spread(x *index, slots int, placements []Placement) []Placement {
	got := map[*node][]Placement{}
	var order []*node
	for range slots {
		n := x.most()
		if len(got[n]) == 0 {
			order = append(order, n)
		}
		got[n] = n.take(1, got[n])
		x.add(n)
	}
	for _, n := range order {
		placements = append(placements, got[n]...)
		if x != &p.index {
			p.add(n)
		}
	}
	return placements
}

// take takes some slots of a node, in order.
func (n *node) take(some int, placements []Placement) []Placement {
	if !n.sorted {
		n.Free, n.sorted = inSlotOrder(n.Free), true
	}
	for _, slot := range n.Free[:some] {
		placements = append(placements, Placement{n.ID, slot})
	}
	n.Free = n.Free[some:]
	return placements
}

// shared says whether somebody has a slot of a node.
func (n *node) shared() bool { return n.free() < n.Slots }

// wholeTo is how many slots a request that takes nodes as a whole could ever have.
func (p *pool) wholeTo(r Request) int {
	could := slices.DeleteFunc(slices.Clone(p.suited(r)), func(n *node) bool { return n.Unavailable != "" || n.Serving > 0 })
	return sum(wholes(could, r.Slots, (*node).available), (*node).available)
}

// wholes are nodes that are taken as a whole and have no more slots together, counted by of: of one rack where that gives all, the
// largest first.
func wholes(nodes []*node, slots int, of func(*node) int) []*node {
	racks := map[string][]*node{}
	for _, n := range nodes {
		if n.Rack != "" {
			racks[n.Rack] = append(racks[n.Rack], n)
		}
	}
	var best []*node
	least := 0
	for _, rack := range sortedKeys(racks) {
		chosen, total := filled(racks[rack], slots, of), sum(racks[rack], of)
		if sum(chosen, of) == slots && (best == nil || total < least) {
			best, least = chosen, total
		}
	}
	if best != nil {
		return best
	}
	return filled(nodes, slots, of)
}

// filled are nodes that have no more slots together, the largest first.
func filled(nodes []*node, slots int, of func(*node) int) (chosen []*node) {
	sorted := slices.Clone(nodes)
	slices.SortFunc(sorted, func(a, b *node) int { return cmp.Or(cmp.Compare(of(b), of(a)), cmp.Compare(a.rank, b.rank)) })
	for _, n := range sorted {
		if has := of(n); has > 0 && has <= slots {
			chosen, slots = append(chosen, n), slots-has
		}
	}
	return chosen
}
