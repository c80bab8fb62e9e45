package scheduler

import (
	"cmp"
	"slices"
)

// pool is the nodes of one pool while a plan is made.
type pool struct {
	nodes  []*node            // by id
	index                     // of those that work may be placed on
	first  *entry             // the request that all others wait behind
	held   []*entry           // requests that wait for nodes with labels: who is behind them gets none of these
	bySuit map[string][]*node // available nodes by the labels that requests ask for
	soon   bool               // what that is short of is on its way
	begins Span               // in how much time it can begin, if not

	outOfReach  int            // slots on nodes that no work may be placed on
	disabled    int            // slots that take no work, on other nodes
	serving     int            // slots that replicas hold
	available   int            // all others: what a request can wait for
	free        int            // of these, those nobody holds
	unavailable map[string]int // nodes that no work may be placed on, by cause

	unreachable bool // some nodes do not reach each other
	reaches     int  // available slots on nodes that do; -1: not counted yet
}

// node is a Node while a plan is made.
type node struct {
	Node
	rank   int  // in its pool
	sorted bool // its free slots are
}

func newPools(nodes []Node) map[string]*pool {
	pools := map[string]*pool{}
	for _, n := range bothWays(nodes) {
		p := pools[n.Pool]
		if p == nil {
			p = &pool{reaches: -1, unavailable: map[string]int{}, bySuit: map[string][]*node{}}
			pools[n.Pool] = p
		}
		p.nodes = append(p.nodes, &node{Node: n})
	}
	for _, p := range pools {
		slices.SortFunc(p.nodes, func(a, b *node) int { return cmp.Compare(a.ID, b.ID) })
		for rank, n := range p.nodes {
			n.rank = rank
			p.count(n)
		}
	}
	return pools
}

// count counts the slots of a node.
func (p *pool) count(n *node) {
	if n.Unavailable != "" {
		p.outOfReach += n.Slots
		p.unavailable[n.Unavailable]++
		return
	}
	p.disabled += n.Disabled
	p.serving += n.Serving
	p.available += n.available()
	p.free += n.free()
	p.unreachable = p.unreachable || len(n.Unreachable) > 0
	p.add(n)
}

// reachable is how many slots work could ever have that is on some nodes already.
func (p *pool) reachable(r Request) int {
	switch {
	case !p.unreachable:
		return p.availableTo(r)
	case len(r.With)+len(r.Labels) > 0:
		return sum(connected(p.suited(r), r.With, (*node).available), (*node).available)
	case p.reaches < 0:
		p.reaches = sum(connected(p.nodes, nil, (*node).available), (*node).available)
	}
	return p.reaches
}

func (n *node) free() int      { return len(n.Free) }
func (n *node) available() int { return n.Slots - n.Serving }

func sum(nodes []*node, slots func(*node) int) (total int) {
	for _, n := range nodes {
		total += slots(n)
	}
	return total
}

// inSlotOrder sorts ids such as cpu2 and cpu10 by kind, then number.
func inSlotOrder(slots []string) []string {
	ordered := slices.Clone(slots)
	slices.SortFunc(ordered, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return ordered
}
