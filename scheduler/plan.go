package scheduler

// Plan is a decision: what to grant, who gives slots up for others, and why all else waits.
type Plan struct {
	// Grants in the order they were decided.
	Grants []Grant
	// Gives in the order they were decided.
	Gives []Give
	// Parks in the order they were decided.
	Parks []Park
	// Waiting has each request that was not granted, in the order of the queue.
	Waiting []Wait
}

// Grant gives a request its slots.
type Grant struct {
	ID string
	// Placements in order of rank.
	Placements []Placement
	// OnLoan: another is before it, and gets the slots when it can begin with them.
	OnLoan bool
}

// Placement is one slot.
type Placement struct {
	Node string
	Slot string
}

// Give has a claim set slots free for a request.
type Give struct {
	// ID of the claim.
	ID    string
	Slots int
	// To is the name of the request.
	To string
}

// Park has a claim keep a checkpoint and set all its slots free for a request; it waits in the queue again, in its old place.
type Park struct {
	// ID of the claim.
	ID string
	// To is the name of the request.
	To string
}

// Wait says why a request got nothing.
type Wait struct {
	ID string
	// Code says why, and the arguments what about; both are for whoever makes a sentence of them.
	Code Code
	Args Args
}
