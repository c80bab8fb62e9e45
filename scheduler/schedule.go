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
	// Reason is shown to the user word for word.
	Reason string
}

// Schedule decides which pending requests get which slots. It does not change its argument.
//
//  1. Put the requests in order.
//  2. One after the other: refuse what the pool could never hold; hold back what stands behind a request that waits;
//     place the rest.
func Schedule(c Cluster) Plan {
	pools := newPools(c.Nodes)
	var plan Plan
	head := map[string]Request{} // pool -> the request all others there wait behind
	for _, r := range inOrder(c.Pending) {
		pool := pools[r.Pool]
		if reason := impossible(r, pool); reason != "" {
			plan.Waiting = append(plan.Waiting, Wait{r.ID, reason})
			continue
		}
		if first, blocked := head[r.Pool]; blocked {
			plan.Waiting = append(plan.Waiting, Wait{r.ID, behind(r, first)})
			continue
		}
		placements, ok := Place(pool.nodes, r.Slots)
		if !ok {
			head[r.Pool] = r
			plan.Waiting = append(plan.Waiting, Wait{r.ID, busy(r, pool)})
			continue
		}
		pool.take(placements)
		plan.Grants = append(plan.Grants, Grant{r.ID, placements})
	}
	return plan
}
