package scheduler

import (
	"cmp"
	"slices"
)

// giveWay has claims set free what the first in line of a pool is short of, when they can go on with fewer slots, are of a lower
// priority, and together have enough: the lowest priority gives first, of equals the youngest. Slots that somebody is about to set free
// are waited for.
func (p *pass) giveWay(running []Claim) {
	short := map[string]int{} // pool -> slots
	for _, e := range p.queue {
		if missing := e.short(); missing > 0 {
			short[e.Pool] = missing
		}
	}
	able, total := map[string][]Claim{}, map[string]int{}
	for _, c := range running {
		missing, waits := short[c.Pool]
		if !waits {
			continue
		}
		short[c.Pool] = missing - c.Leaving
		if c.Gives > 0 && c.Priority < p.pools[c.Pool].first.Priority {
			able[c.Pool] = append(able[c.Pool], c)
			total[c.Pool] += c.Gives
		}
	}
	for _, e := range p.queue {
		missing := short[e.Pool]
		if e.short() == 0 || total[e.Pool] < missing {
			continue
		}
		slices.SortFunc(able[e.Pool], func(a, b Claim) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
		})
		for _, c := range able[e.Pool] {
			if missing <= 0 {
				break
			}
			n := min(missing, c.Gives)
			p.plan.Gives = append(p.plan.Gives, Give{c.ID, n, e.Name})
			missing -= n
		}
	}
}

// short is how many more free slots would let the first in line of its pool begin; 0 for others, and when that depends on where they
// come free.
func (e *entry) short() int {
	if e.code != Busy || e.Spare || e.near < e.free {
		return 0
	}
	return e.least() - e.near
}
