package scheduler

import (
	"cmp"
	"slices"
)

// inOrder returns the requests in the order they are considered: priority, then age, then id.
func inOrder(requests []Request) []Request {
	ordered := slices.Clone(requests)
	slices.SortFunc(ordered, func(a, b Request) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority),
			a.CreatedAt.Compare(b.CreatedAt),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return ordered
}
