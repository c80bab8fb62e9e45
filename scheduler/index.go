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

// fewest takes nodes out with this many free slots, which there must be: as few nodes as it can, since ranks of one machine talk faster
// than ranks of two. That is the node with the least free slots that holds all; else those with the most free slots first. Ties go by id.
func (x *index) fewest(slots int) []*node {
	for free := slots; free < len(x.byFree); free++ {
		if n := x.pop(free); n != nil {
			return []*node{n}
		}
	}
	var chosen []*node
	for free := min(slots, len(x.byFree)) - 1; free > 0 && slots > 0; free-- {
		for n := x.pop(free); n != nil; n = x.pop(free) {
			chosen = append(chosen, n)
			if slots -= free; slots <= 0 {
				break
			}
		}
	}
	return chosen
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
