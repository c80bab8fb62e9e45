package scheduler

import (
	"cmp"
	"slices"
)

// order puts the requests in the order they are considered: priority, what is spare last, then age, then id.
func (p *pass) order(pending []Request) {
	p.queue = make([]*entry, 0, len(pending))
	for _, r := range pending {
		p.queue = append(p.queue, &entry{Request: r, pool: p.pools[r.Pool]})
	}
	slices.SortFunc(p.queue, func(a, b *entry) int { return inOrder(a.Request, b.Request) })
}

// inOrder compares the places of two requests.
func inOrder(a, b Request) int {
	return cmp.Or(
		cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(oneIf(a.Spare), oneIf(b.Spare)),
		a.CreatedAt.Compare(b.CreatedAt),
		cmp.Compare(a.ID, b.ID),
	)
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}
