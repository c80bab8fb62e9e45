package scheduler

import "time"

// Snapshot is what a decision is made on: what there is, who holds some of it, and who waits.
type Snapshot struct {
	// Nodes of all pools, in any order; ids are unique.
	Nodes []Node
	// Running work that may set slots free for others, in any order; ids are unique.
	Running []Claim
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

// Claim is work that holds slots.
type Claim struct {
	// ID of what holds them.
	ID   string
	Pool string
	// Priority and CreatedAt are those of a request.
	Priority  int
	CreatedAt time.Time
	// Gives is how many of them it can go on without, and set free now.
	Gives int
	// Leaving is how many of them it is about to set free.
	Leaving int
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

// least is how many slots a request begins with at least.
func (r Request) least() int {
	if r.Min == 0 {
		return r.Slots
	}
	return r.Min
}
