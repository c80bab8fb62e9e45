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
	// Queues are the projects in pools that are shared fairly, in any order, each at most once.
	Queues []Queue
}

// Node is a machine and the slots nobody holds there.
type Node struct {
	ID   string
	Pool string
	// Slots is the number of slots the node has, used or not.
	Slots int
	// Free lists the ids of the slots nobody holds, in any order.
	Free []string
	// Disabled is the number of slots beside these that take no work.
	Disabled int
	// Serving is the number of its slots that replicas hold. They come free only when somebody serves less, so a request
	// cannot wait for them.
	Serving int
	// Rack names nodes that are near each other; empty: nobody has said so.
	Rack string
	// Spread: work of its pool is spread over the nodes, and not packed on as few as can be. It is so of all nodes of a pool, or of none.
	Spread bool
	// Labels are those that an operator has given it.
	Labels map[string]string
	// Unavailable says why no work may be placed on the node ("lost", "cordoned"); empty: it may.
	Unavailable string
	// Unreachable lists the ids of nodes that it does not reach, or that do not reach it: no request gets slots on both.
	Unreachable []string
}

// Claim is work that holds slots.
type Claim struct {
	// ID of what holds them.
	ID      string
	Project string
	Pool    string
	// Priority and CreatedAt are those of a request.
	Priority  int
	CreatedAt time.Time
	// Slots is how many it holds that others may have when it sets them free, those that are leaving left out.
	Slots int
	// Gives is how many of them it can go on without, and set free now.
	Gives int
	// Leaving is how many more it is about to set free.
	Leaving int
	// At are all these, those that are leaving first; only who looks ahead needs them.
	At []Placement
	// Parks: it can keep a checkpoint now, set all its slots free, and go on later.
	Parks bool
	// Protected: it has not had its slots for the time that is guaranteed, so it is not parked for a higher priority.
	Protected bool
	// OnLoan: it got its slots ahead of its turn, and sets them free for each that was before it.
	OnLoan bool
	// Unsaved is how long ago its last checkpoint was committed: what a slot of it has done since is lost should it not end in order.
	Unsaved time.Duration
	// Ends is in how much time it is done; the zero Span: nobody knows.
	Ends Span
}

// Span is a time of which it is known to lie between two: as likely before Low as after High.
type Span struct {
	Low, High time.Duration
}

// known says whether anything is known.
func (s Span) known() bool { return s != Span{} }

// Request is work that waits for slots.
type Request struct {
	// ID of what is granted slots, and the last tie-breaker of the order.
	ID string
	// Name is what reasons call it: the id of its job.
	Name    string
	Project string
	Pool    string
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
	// Whole: it takes nodes as a whole, so that its slots are all those of some nodes. Of a node that it is on already it takes what is free.
	Whole bool
	// Labels are those that its nodes have, each with this value.
	Labels map[string]string
	// Parks: once it runs it can be parked, so that it can be lent slots.
	Parks bool
	// Limit is the time after which it is ended at the latest once it runs; 0: none.
	Limit time.Duration
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
