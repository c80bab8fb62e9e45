package scheduler

import (
	"cmp"
	"slices"
)

// Place chooses slots on as few nodes as it can, since ranks of one machine talk faster than ranks of two: the
// available node with the least free slots that holds all; else the nodes with the most free slots first. Ties go by
// id. It returns false when there are too few, and does not change its argument. All nodes should be of one pool.
func Place(nodes []Node, slots int) ([]Placement, bool) {
	candidates := make([]Node, 0, len(nodes))
	total := 0
	for _, n := range nodes {
		if n.Unavailable == "" && len(n.Free) > 0 {
			candidates = append(candidates, n)
			total += len(n.Free)
		}
	}
	if slots < 1 || total < slots {
		return nil, false
	}
	slices.SortFunc(candidates, func(a, b Node) int {
		return cmp.Or(cmp.Compare(len(b.Free), len(a.Free)), cmp.Compare(a.ID, b.ID))
	})
	chosen := candidates
	for _, n := range candidates { // most free first: the last that holds all fits best
		if len(n.Free) < slots {
			break
		}
		if len(chosen) != 1 || len(n.Free) < len(chosen[0].Free) {
			chosen = []Node{n}
		}
	}
	placements := make([]Placement, 0, slots)
	for _, n := range chosen {
		for _, slot := range inSlotOrder(n.Free) {
			if len(placements) == slots {
				return placements, true
			}
			placements = append(placements, Placement{n.ID, slot})
		}
	}
	return placements, true
}

// inSlotOrder sorts ids such as cpu2 and cpu10 by kind, then number.
func inSlotOrder(slots []string) []string {
	ordered := slices.Clone(slots)
	slices.SortFunc(ordered, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return ordered
}

// pool is the nodes of one pool while a plan is made.
type pool struct {
	nodes []Node
}

func newPools(nodes []Node) map[string]*pool {
	pools := map[string]*pool{}
	for _, n := range bothWays(nodes) {
		if pools[n.Pool] == nil {
			pools[n.Pool] = &pool{}
		}
		n.Free = slices.Clone(n.Free)
		pools[n.Pool].nodes = append(pools[n.Pool].nodes, n)
	}
	return pools
}

// take removes the placements from the free slots.
func (p *pool) take(placements []Placement) {
	for i := range p.nodes {
		n := &p.nodes[i]
		n.Free = slices.DeleteFunc(n.Free, func(slot string) bool {
			return slices.Contains(placements, Placement{n.ID, slot})
		})
	}
}

// slots counts the slots of the pool.
type slots struct {
	outOfReach int // on nodes no work may be placed on
	serving    int // held by replicas
	available  int // all others: what a request can wait for
	free       int // of these, those nobody holds
}

func (p *pool) slots() slots {
	var s slots
	for _, n := range p.nodes {
		if n.Unavailable != "" {
			s.outOfReach += n.Slots
			continue
		}
		s.serving += n.Serving
		s.available += n.Slots - n.Serving
		s.free += len(n.Free)
	}
	return s
}
