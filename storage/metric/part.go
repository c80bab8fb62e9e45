package metric

import "time"

// Part is what became of time: the ledger of goodput has these parts.
type Part int

// The parts.
const (
	Useful    Part = iota // steps done for the first time, and evaluation
	Redone                // steps done again, and work that came to nothing: of steps that were not committed, or that nobody has any more
	Stalled               // waiting for data, the copy of a checkpoint, or the store
	Awaiting              // waiting for other ranks: to form a group, or for one that does not answer
	Preparing             // processes start
	Parts                 // how many there are
)

var partNames = [Parts]string{"useful", "redone", "stalled", "waiting", "starting"}

// String is the name of a part.
func (p Part) String() string { return partNames[p] }

// Part is what time of a category goes to, unless it is of steps that are done again.
func (c Category) Part() Part {
	switch c {
	case Starting:
		return Preparing
	case Waiting:
		return Awaiting
	case Storage, Data, Checkpoint:
		return Stalled
	case Lost:
		return Redone
	}
	return Useful
}

// OfStep tells whether time of a category is work at a step, which may be done again.
func (c Category) OfStep() bool {
	switch c {
	case Forward, Backward, Communication, Optimizer, Other:
		return true
	}
	return false
}

// Ledger is how long each part took.
type Ledger [Parts]time.Duration

// Spend gives time to parts. first and step are the steps done at its beginning and end, reached the furthest that the trial was at before:
// what lies below that is done again.
func (l *Ledger) Spend(times Times, first, step, reached float64) {
	again := 0.0
	if step > first {
		again = (min(step, max(reached, first)) - first) / (step - first)
	}
	for c, d := range times {
		if Category(c).OfStep() {
			redone := time.Duration(float64(d) * again)
			l[Redone] += redone
			d -= redone
		}
		l[Category(c).Part()] += d
	}
}
