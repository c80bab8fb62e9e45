package forecast

import (
	"cmp"
	"slices"
	"time"

	"tandem.dev/scheduler"
)

const (
	// maxPasses bounds how far a run looks: as many times is it decided anew.
	maxPasses = 400
	// leaveTime is how long work that is about to set slots free is taken to need for that.
	leaveTime = 5 * time.Second
)

// run is a forecast in the making.
type run struct {
	snapshot scheduler.Snapshot
	now      time.Duration
	ends     map[string]time.Duration // claims of which it is known when they end
	lasts    map[string]time.Duration // requests of which it is known how long they will take
	begins   map[string]time.Duration // requests that have begun
	at       map[string]*scheduler.Node
}

// begin returns when each request begins, as far as it is known, until the one that is wanted has begun; empty: all of them. pick says
// which end of a Span is taken.
func begin(
	s scheduler.Snapshot, lasts map[string]scheduler.Span, wanted string, pick func(scheduler.Span) time.Duration,
) map[string]time.Duration {
	r := &run{
		ends: map[string]time.Duration{}, lasts: map[string]time.Duration{}, begins: map[string]time.Duration{},
		at:       map[string]*scheduler.Node{},
		snapshot: scheduler.Snapshot{Nodes: slices.Clone(s.Nodes), Running: slices.Clone(s.Running), Pending: slices.Clone(s.Pending), Queues: s.Queues},
	}
	for i := range r.snapshot.Nodes {
		n := &r.snapshot.Nodes[i]
		n.Free = slices.Clone(n.Free)
		r.at[n.ID] = n
	}
	for _, c := range s.Running {
		if c.Ends != (scheduler.Span{}) {
			r.ends[c.ID] = pick(c.Ends)
		}
	}
	for id, span := range lasts {
		r.lasts[id] = pick(span)
	}
	for range maxPasses {
		if _, done := r.begins[wanted]; done || len(r.snapshot.Pending) == 0 {
			break
		}
		if !r.apply(scheduler.Schedule(r.snapshot)) && !r.advance() {
			break
		}
	}
	return r.begins
}

// apply carries a plan out; false: it changes nothing.
func (r *run) apply(plan scheduler.Plan) bool {
	for _, g := range plan.Grants {
		for _, at := range g.Placements {
			n := r.at[at.Node]
			n.Free = slices.DeleteFunc(n.Free, func(slot string) bool { return slot == at.Slot })
		}
		r.grant(g)
	}
	for _, g := range plan.Gives {
		c := r.claim(g.ID)
		free := c.At[len(c.At)-g.Slots:]
		r.resized(g.ID, c.Slots, c.Slots-g.Slots)
		c.At, c.Slots, c.Gives = c.At[:len(c.At)-g.Slots], c.Slots-g.Slots, c.Gives-g.Slots
		r.free(free)
	}
	for _, k := range plan.Parks {
		r.park(k)
	}
	return len(plan.Grants)+len(plan.Gives)+len(plan.Parks) > 0
}

// grant has a request begin, or work that runs go on with more slots.
func (r *run) grant(g scheduler.Grant) {
	i := slices.IndexFunc(r.snapshot.Pending, func(q scheduler.Request) bool { return q.ID == g.ID })
	q := r.snapshot.Pending[i]
	r.snapshot.Pending = slices.Delete(r.snapshot.Pending, i, i+1)
	if _, before := r.begins[q.ID]; !before {
		r.begins[q.ID] = r.now
	}
	if c := r.claim(q.ID); c != nil {
		r.resized(c.ID, c.Slots, c.Slots+len(g.Placements))
		c.At, c.Slots, c.Gives = slices.Concat(c.At, g.Placements), c.Slots+len(g.Placements), c.Gives+len(g.Placements)
		return
	}
	c := scheduler.Claim{
		ID: q.ID, Project: q.Project, Pool: q.Pool, Priority: q.Priority, CreatedAt: q.CreatedAt, At: g.Placements, Slots: len(g.Placements), Parks: q.Parks,
		OnLoan: g.OnLoan, Gives: len(g.Placements) - cmp.Or(q.Min, q.Slots),
	}
	c.Gives = max(0, c.Gives)
	if lasts, known := r.lasts[q.ID]; known {
		r.ends[q.ID] = r.now + lasts
		r.resized(q.ID, q.Slots, c.Slots)
	}
	r.snapshot.Running = append(r.snapshot.Running, c)
}

// resized has work end sooner with more slots, and later with fewer: what it has left to do stays the same.
func (r *run) resized(id string, from, to int) {
	if end, known := r.ends[id]; known && from > 0 && to > 0 {
		r.ends[id] = r.now + time.Duration(float64(end-r.now)*float64(from)/float64(to))
	}
}

// park has a claim wait again, with what it has left to do.
func (r *run) park(k scheduler.Park) {
	c := *r.claim(k.ID)
	r.remove(c.ID)
	r.snapshot.Pending = append(r.snapshot.Pending, scheduler.Request{
		ID: c.ID, Name: c.ID, Project: c.Project, Pool: c.Pool, Slots: c.Slots, Min: c.Slots - c.Gives, Parks: true,
		Priority: c.Priority, CreatedAt: c.CreatedAt,
	})
	if end, known := r.ends[c.ID]; known {
		r.lasts[c.ID] = end - r.now
		delete(r.ends, c.ID)
	}
	r.free(c.At)
}

// advance goes on to when the next work ends, or leaves; false: nobody knows of any.
func (r *run) advance() bool {
	var next time.Duration
	some := false
	for i := range r.snapshot.Running {
		if at, known := r.over(&r.snapshot.Running[i]); known && (!some || at < next) {
			next, some = at, true
		}
	}
	if !some {
		return false
	}
	r.now = max(r.now, next)
	for _, c := range slices.Clone(r.snapshot.Running) {
		at, known := r.over(&c)
		switch {
		case !known || at > r.now:
		case c.Leaving > 0 && c.Leaving < len(c.At):
			r.free(c.At[:c.Leaving])
			of := r.claim(c.ID)
			of.At, of.Leaving = c.At[c.Leaving:], 0
		default:
			r.remove(c.ID)
			r.free(c.At)
		}
	}
	for i := range r.snapshot.Running {
		c := &r.snapshot.Running[i]
		if end, known := r.ends[c.ID]; known {
			c.Ends = scheduler.Span{Low: end - r.now, High: end - r.now}
		}
	}
	return true
}

// over is when a claim sets slots free next.
func (r *run) over(c *scheduler.Claim) (time.Duration, bool) {
	if c.Leaving > 0 {
		return leaveTime, true
	}
	end, known := r.ends[c.ID]
	return end, known
}

func (r *run) claim(id string) *scheduler.Claim {
	i := slices.IndexFunc(r.snapshot.Running, func(c scheduler.Claim) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return &r.snapshot.Running[i]
}

// remove takes a claim out, and what it wanted more.
func (r *run) remove(id string) {
	r.snapshot.Running = slices.DeleteFunc(r.snapshot.Running, func(c scheduler.Claim) bool { return c.ID == id })
	r.snapshot.Pending = slices.DeleteFunc(r.snapshot.Pending, func(q scheduler.Request) bool { return q.ID == id })
}

func (r *run) free(slots []scheduler.Placement) {
	for _, at := range slots {
		if n := r.at[at.Node]; n != nil {
			n.Free = append(n.Free, at.Slot)
		}
	}
}
