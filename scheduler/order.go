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
	slices.SortFunc(p.queue, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(spare(a), spare(b)),
			a.CreatedAt.Compare(b.CreatedAt),
			cmp.Compare(a.ID, b.ID),
		)
	})
}

func spare(e *entry) int {
	if e.Spare {
		return 1
	}
	return 0
}
