package scheduler

import "container/heap"

// index finds nodes by how many of their slots are free.
type index struct {
	byFree []byRank // nodes under the number of their free slots; those that have fewer by now are passed over
}

// add puts a node where it belongs now.
func (x *index) add(n *node) {
	for len(x.byFree) <= n.free() {
		x.byFree = append(x.byFree, nil)
	}
	heap.Push(&x.byFree[n.free()], n)
}

// indexOf is an index of nodes.
func indexOf(nodes []*node) *index {
	x := &index{}
	for _, n := range nodes {
		x.add(n)
	}
	return x
}

// fewest takes nodes out with this many free slots, which there must be: as few nodes as it can, since ranks of one machine talk faster
// than ranks of two. Those with the most free slots come first; the last is the one with the least that holds the rest, so that no whole
// node is broken for it. Ties go by id.
func (x *index) fewest(slots int) (chosen []*node) {
	for slots > 0 {
		n := x.least(slots)
		if n == nil {
			n = x.most()
		}
		chosen, slots = append(chosen, n), slots-n.free()
	}
	return chosen
}

// least takes the node out with the least free slots that are so many; nil: there is none.
func (x *index) least(slots int) *node {
	for free := slots; free < len(x.byFree); free++ {
		if n := x.pop(free); n != nil {
			return n
		}
	}
	return nil
}

// most takes the node out with the most free slots, which there must be.
func (x *index) most() *node {
	for free := len(x.byFree) - 1; ; free-- {
		if n := x.pop(free); n != nil {
			return n
		}
	}
}

// pop takes the first of the nodes out that have so many free slots; nil: there is none.
func (x *index) pop(free int) *node {
	for x.byFree[free].Len() > 0 {
		if n, _ := heap.Pop(&x.byFree[free]).(*node); n.free() == free {
			return n
		}
	}
	return nil
}

// byRank is a heap of nodes.
type byRank []*node

func (r byRank) Len() int           { return len(r) }
func (r byRank) Less(i, j int) bool { return r[i].rank < r[j].rank }
func (r byRank) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }

// Push implements heap.Interface.
func (r *byRank) Push(x any) { *r = append(*r, x.(*node)) } //nolint:forcetypeassert // add alone pushes

// Pop implements heap.Interface.
func (r *byRank) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
