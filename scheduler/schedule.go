package scheduler

// Schedule decides which pending requests get which slots, and who gives some up for them. It does not change its argument.
//
//  1. Order: put the requests into levels by priority.
//  2. Refuse what its pool could never hold.
//  3. Fit: place the others one after the other, on all the slots they want or on those that are free when these are enough to begin;
//     hold back what stands behind a request that waits. In a pool that is shared fairly it is each time the turn of the project that
//     has the least.
//  4. Give way: have running work of a lower priority, and what is on loan, set free what the first in line of a pool is short of.
//  5. Lend what is free and the first in line cannot use yet to those behind it.
//  6. Explain why each request that got nothing waits.
func Schedule(s Snapshot) Plan { return decide(s).plan }

func decide(s Snapshot) *pass {
	p := &pass{pools: newPools(s.Nodes)}
	p.order(s)
	p.refuse()
	p.fit()
	p.giveWay(s.Running)
	p.lend()
	p.explain()
	return p
}

// pass is a decision in the making.
type pass struct {
	pools map[string]*pool
	turns turns
	queue []*entry // in the order of their turns
	plan  Plan
}

// entry is a request and what was found out about it.
type entry struct {
	Request
	pool   *pool // nil: it has no nodes
	code   Code  // why it waits; empty: it does not
	near   int   // slots that it could have or have had, on nodes that reach each other: all for Unreachable, those that were free for Busy
	free   int   // slots of its pool, on nodes that suit it, that were free when it was its turn
	behind *entry
	share  *share  // of its project; nil: its pool is not shared fairly
	had    float64 // the size of that when it was its turn
}

// refuse finds the requests that could not be satisfied even if all jobs of their pool had ended.
func (p *pass) refuse() {
	for _, e := range p.turns.left {
		switch {
		case e.pool == nil:
			e.code = NoNodes
		case e.least() > e.pool.available:
			e.code = TooFew
		case e.Whole && len(e.With) == 0 && e.least() > e.pool.wholeTo(e.Request):
			e.code = NotWhole
		case e.least() > e.pool.availableTo(e.Request):
			e.code = Labelled
		default:
			if e.near = e.pool.reachable(e.Request); e.near < e.least() {
				e.code = Unreachable
			}
		}
	}
}

// fit grants slots. Nothing goes before the first request of a pool that waits, but for what was refused.
func (p *pass) fit() {
	for e := p.turns.next(); e != nil; e = p.turns.next() {
		p.queue = append(p.queue, e)
		if e.code != "" {
			continue
		}
		if first := e.pool.first; first != nil {
			e.code, e.behind = Behind, first
			e.count(0)
			continue
		}
		e.free = e.pool.freeFor(e.Request)
		placements, near := e.pool.place(e.Request)
		if placements != nil {
			p.plan.Grants = append(p.plan.Grants, Grant{ID: e.ID, Placements: placements})
			e.count(len(placements))
			continue
		}
		if e.code, e.near, e.behind = Busy, near, e.pool.holder(e.Request); e.behind != nil {
			e.code = Behind
			e.count(0)
			continue
		}
		switch {
		case e.Spare:
		case len(e.Labels) > 0:
			e.pool.held = append(e.pool.held, e)
		default:
			e.pool.first = e
		}
		e.count(0)
	}
}
