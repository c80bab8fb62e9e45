package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// giveWay has running work set free what the first in line of a pool is short of, if together they have enough: work of a lower priority,
// and work that has its slots on loan. Those that can go on with fewer give what they can spare; only if that is not enough some are
// parked, of the lowest priority first, of these what is on loan, then what would lose the least, then the youngest. Slots that somebody
// is about to set free are waited for.
func (p *pass) giveWay(running []Claim) {
	claims, taken := map[string][]Claim{}, map[string]bool{}
	for _, c := range running {
		claims[c.Pool] = append(claims[c.Pool], c)
	}
	for _, e := range p.queue {
		missing := e.short()
		if missing == 0 {
			continue
		}
		var able []Claim
		sizes := p.turns.shares.sizes(claims[e.Pool], e)
		for _, c := range claims[e.Pool] {
			if !e.pool.helps(c, e.Request) {
				continue
			}
			missing -= c.Leaving
			if c.yields(e, sizes) && !taken[c.ID] {
				able = append(able, c)
			}
		}
		before := len(p.plan.Gives) + len(p.plan.Parks)
		soon := missing <= 0 || p.take(able, missing, e.Name)
		if len(p.plan.Gives)+len(p.plan.Parks) > before { // no other gets the same
			for _, c := range able {
				taken[c.ID] = true
			}
		}
		if e != e.pool.first {
			continue
		}
		if e.pool.soon = soon; !soon {
			e.pool.begins = beginning(claims[e.Pool], missing)
		}
	}
}

// take has some of these claims set slots free, no more of them than are needed; false: all together have too few.
func (p *pass) take(able []Claim, missing int, to string) bool {
	slices.SortFunc(able, cheaper)
	parks := parked(able, missing)
	for i, c := range able {
		if parks[i] {
			missing -= c.Slots
		}
	}
	total := 0
	for i, c := range able {
		if !parks[i] {
			total += c.Gives
		}
	}
	if total < missing {
		return false
	}
	for i, c := range able {
		switch n := min(missing, c.Gives); {
		case parks[i]:
			p.plan.Parks = append(p.plan.Parks, Park{c.ID, to})
		case n > 0:
			p.plan.Gives = append(p.plan.Gives, Give{c.ID, n, to})
			missing -= n
		}
	}
	return true
}

// parked chooses who is parked, by place in the list; nobody where it is enough that all give what they can spare, or where it never is.
func parked(able []Claim, missing int) []bool {
	parks := make([]bool, len(able))
	for _, c := range able {
		missing -= c.Gives
	}
	for i, c := range able {
		if missing > 0 && c.parkable() {
			parks[i] = true
			missing -= c.more()
		}
	}
	if missing > 0 {
		return make([]bool, len(able))
	}
	for i, c := range slices.Backward(able) { // who does not help is left alone, the dearest first
		if parks[i] && missing+c.more() <= 0 {
			parks[i] = false
			missing += c.more()
		}
	}
	return parks
}

// yields says whether it sets slots free for the first in line. What is on loan stays where its project, with all that it has, still has
// less than that of the first.
func (c Claim) yields(e *entry, sizes map[string]float64) bool {
	if c.Priority != e.Priority || !c.OnLoan {
		return c.Priority < e.Priority
	}
	if e.share != nil && c.Project != e.Project && sizes[c.Project] != e.had {
		return sizes[c.Project] > e.had
	}
	return inOrder(e.Request, c.request()) < 0
}

// request is the place of a claim in the order of requests.
func (c Claim) request() Request {
	return Request{ID: c.ID, Priority: c.Priority, CreatedAt: c.CreatedAt}
}

// parkable says whether it may be parked.
func (c Claim) parkable() bool { return c.Parks && c.more() > 0 && (c.OnLoan || !c.Protected) }

// more is how many slots it sets free when it is parked, beyond those that it can give.
func (c Claim) more() int { return c.Slots - c.Gives }

// price is what is lost should it not end in order, in slot-time.
func (c Claim) price() time.Duration { return time.Duration(c.Slots) * c.Unsaved }

// cheaper orders claims: those that set slots free first come first.
func cheaper(a, b Claim) int {
	return cmp.Or(
		cmp.Compare(a.Priority, b.Priority),
		cmp.Compare(oneIf(b.OnLoan), oneIf(a.OnLoan)),
		cmp.Compare(a.price(), b.price()),
		b.CreatedAt.Compare(a.CreatedAt),
		cmp.Compare(b.ID, a.ID),
	)
}

// short is how many more free slots would let the first in line of its pool begin; 0 for others, and when that depends on where they
// come free.
func (e *entry) short() int {
	if e.code != Busy || e.Spare || e.Whole || e.near < e.free {
		return 0
	}
	return e.least() - e.near
}
