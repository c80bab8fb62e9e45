package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// lendTime is how long a loan has to be likely to last: less is not worth a start.
const lendTime = time.Minute

// lend grants free slots that the first in line of a pool cannot use yet to requests behind it, in order. None of them delays it: what
// can be parked is, once the first can begin with its slots; what cannot has to be over before the first could begin, which its limit has
// to say. Nothing is lent when the slots that the first waits for are on their way.
func (p *pass) lend() {
	for _, e := range p.queue {
		if e.code != Behind || e.Spare || !e.pool.lends(e.Request) {
			continue
		}
		if placements, _ := e.pool.place(e.Request); placements != nil {
			e.code = ""
			p.plan.Grants = append(p.plan.Grants, Grant{ID: e.ID, Placements: placements, OnLoan: true})
		}
	}
}

// lends says whether the slots may go to a request that is not the first in line.
func (p *pool) lends(r Request) bool {
	switch begins := p.begins.Low; {
	case p.first == nil || p.soon || p.free < r.least() || p.first.short() == 0:
		return false
	case r.Limit > 0 && p.begins.known() && r.Limit <= begins:
		return true
	default:
		return r.Parks && (!p.begins.known() || begins >= lendTime)
	}
}

// beginning is in how much time claims will have set free as many slots as are missing, by when they are done; the zero Span: nobody knows.
func beginning(claims []Claim, missing int) Span {
	at := func(end func(Span) time.Duration) (time.Duration, bool) {
		var known []Claim
		for _, c := range claims {
			if c.Ends.known() {
				known = append(known, c)
			}
		}
		slices.SortFunc(known, func(a, b Claim) int { return cmp.Compare(end(a.Ends), end(b.Ends)) })
		left := missing
		for _, c := range known {
			if left -= c.Slots; left <= 0 {
				return end(c.Ends), true
			}
		}
		return 0, false
	}
	low, ok := at(func(s Span) time.Duration { return s.Low })
	if !ok {
		return Span{}
	}
	high, _ := at(func(s Span) time.Duration { return s.High })
	return Span{low, high}
}
