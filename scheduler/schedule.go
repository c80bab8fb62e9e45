package scheduler

import "time"

// Cluster is what a decision is made on.
type Cluster struct {
	// Nodes of all pools, in any order; ids are unique.
	Nodes []Node
	// Pending requests, in any order; ids are unique.
	Pending []Request
}

// Node is a machine and the slots nobody holds there.
type Node struct {
	ID   string
	Pool string
	// Slots is the number of slots the node has, used or not.
	Slots int
	// Free lists the ids of the slots nobody holds, in any order.
	Free []string
	// Serving is the number of its slots that replicas hold. They come free only when somebody serves less, so a request
	// cannot wait for them.
	Serving int
	// Unavailable says why no work may be placed on the node ("lost", "cordoned"); empty: it may.
	Unavailable string
	// Parted lists the ids of nodes that it does not reach, or that do not reach it: no request gets slots on both.
	Parted []string
}

// Request is work that waits for slots.
type Request struct {
	// ID of what is granted slots, and the last tie-breaker of the order.
	ID string
	// Name is what reasons call it: the id of its job.
	Name string
	Pool string
	// Slots wanted, all at once; at least 1.
	Slots int
	// Min is how many of them are enough to begin with when no more are free; 0 stands for Slots.
	Min int
	// Spare work goes on without the slots: it takes what nobody of its priority waits for, and nobody waits behind it.
	Spare bool
	// With lists the nodes that the work has slots on already: it gets none on a node that does not reach them all.
	With []string
	// Avoid lists nodes that it gets slots on only when too few are free elsewhere: they may be out of reach.
	Avoid []string
	// Priority: higher goes first.
	Priority int
	// CreatedAt is the age: of two requests of one priority the older goes first.
	CreatedAt time.Time
}

// Plan is a decision: what to grant, and why all else waits.
type Plan struct {
	// Grants in the order they were decided.
	Grants []Grant
	// Waiting has each request that was not granted, in the order of the queue.
	Waiting []Wait
}

// Grant gives a request its slots.
type Grant struct {
	ID string
	// Placements in order of rank.
	Placements []Placement
}

// Placement is one slot.
type Placement struct {
	Node string
	Slot string
}

// Wait says why a request got nothing.
type Wait struct {
	ID string
	// Code says why, and the arguments what about; both are for whoever makes a sentence of them.
	Code Code
	Args Args
	// Short is how many more free slots would let the request begin; 0 when it stands behind another, can never begin, or
	// when that depends on where they are.
	Short int
}

// Schedule decides which pending requests get which slots. It does not change its argument.
//
//  1. Put the requests in order.
//  2. One after the other: refuse what the pool could never hold; hold back what stands behind a request that waits;
//     place the rest, on all the slots they want or on those that are free when these are enough to begin.
func Schedule(c Cluster) Plan {
	pools := newPools(c.Nodes)
	var plan Plan
	head := map[string]Request{} // pool -> the request all others there wait behind
	for _, r := range inOrder(c.Pending) {
		pool := pools[r.Pool]
		if code, args := impossible(r, pool); code != "" {
			plan.Waiting = append(plan.Waiting, Wait{ID: r.ID, Code: code, Args: args})
			continue
		}
		if first, blocked := head[r.Pool]; blocked {
			plan.Waiting = append(plan.Waiting, Wait{ID: r.ID, Code: Behind, Args: behind(r, first)})
			continue
		}
		near := together(pool.without(r.Avoid), r.With, free)
		if near.slots().free < r.least() {
			near = together(pool.nodes, r.With, free)
		}
		most := near.slots().free
		placements, ok := Place(near.nodes, min(r.Slots, most))
		if !ok || most < r.least() {
			wait := Wait{ID: r.ID, Code: Busy, Args: busy(r, pool, most), Short: r.least() - most}
			if most < pool.slots().free {
				wait.Short = 0 // it depends on where they come free
			}
			if r.Spare {
				wait.Short = 0
			} else {
				head[r.Pool] = r
			}
			plan.Waiting = append(plan.Waiting, wait)
			continue
		}
		pool.take(placements)
		plan.Grants = append(plan.Grants, Grant{r.ID, placements})
	}
	return plan
}

// least is how many slots a request begins with at the least.
func (r Request) least() int {
	if r.Min == 0 {
		return r.Slots
	}
	return r.Min
}
