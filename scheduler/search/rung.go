package search

import (
	"cmp"
	"slices"
)

// rung holds the losses of the trials that got to a milestone.
type rung struct {
	waiting []entry // may go on, best first
	settled []entry // went on, or are over; best first
}

type entry struct {
	loss  float64
	trial int
}

// before orders by loss, and equal ones by number.
func (e entry) before(o entry) int {
	return cmp.Or(cmp.Compare(e.loss, o.loss), cmp.Compare(e.trial, o.trial))
}

// put adds an entry to an ordered list.
func put(list []entry, e entry) []entry {
	at, _ := slices.BinarySearchFunc(list, e, entry.before)
	return slices.Insert(list, at, e)
}

// drop takes an entry out of an ordered list; false when it does not exist.
func drop(list []entry, e entry) ([]entry, bool) {
	at, ok := slices.BinarySearchFunc(list, e, entry.before)
	if ok {
		list = slices.Delete(list, at, at+1)
	}
	return list, ok
}

// rank is the number of entries that come before e.
func rank(list []entry, e entry) int {
	at, _ := slices.BinarySearchFunc(list, e, entry.before)
	return at
}

func (r *rung) size() int { return len(r.waiting) + len(r.settled) }

// best of those that wait, and its rank in the whole rung.
func (r *rung) best() (e entry, place int, ok bool) {
	if len(r.waiting) == 0 {
		return entry{}, 0, false
	}
	return r.waiting[0], rank(r.settled, r.waiting[0]), true
}

// settle the entry of a trial that waits.
func (r *rung) settle(e entry) {
	var ok bool
	if r.waiting, ok = drop(r.waiting, e); ok {
		r.settled = put(r.settled, e)
	}
}
