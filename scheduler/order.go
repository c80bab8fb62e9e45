package scheduler

import (
	"cmp"
	"slices"
)

// inOrder returns the requests in the order they are considered: priority, what is spare last, then age, then id.
func inOrder(requests []Request) []Request {
	ordered := slices.Clone(requests)
	slices.SortFunc(ordered, func(a, b Request) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(spare(a), spare(b)),
			a.CreatedAt.Compare(b.CreatedAt),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return ordered
}

func spare(r Request) int {
	if r.Spare {
		return 1
	}
	return 0
}
