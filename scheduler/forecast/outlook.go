package forecast

import (
	"slices"
	"time"

	"tandem.dev/scheduler"
)

const (
	// maxPosition is the place in the queue up to which it is tried to say when a request begins.
	maxPosition = 400
	// wider is by what part of its width a range is made wider at either end, for what comes, fails or is resized meanwhile; chosen so
	// that it holds nine of ten beginnings (scheduler/DESIGN.md, 2026-12-01).
	wider = 0.3
	// maxBehind is how many of those behind it are looked at.
	maxBehind = 100
)

// Outlook is what is said of one request.
type Outlook struct {
	// Now are the slots that it gets at once; empty: it waits.
	Now []scheduler.Placement
	// OnLoan: it gets them ahead of its turn.
	OnLoan bool
	// Gives and Parks are what is set free for it.
	Gives []scheduler.Give
	Parks []scheduler.Park
	// Wait says why it waits.
	Wait scheduler.Wait
	// Position is its place among those of its pool that wait, from 1; 0: it does not wait.
	Position int
	// Ahead are the names of those before it.
	Ahead []string
	// Begins is in how much time it begins, when Known.
	Begins scheduler.Span
	Known  bool
	// Changes are those that would have it begin at once.
	Changes []Change
}

// Change is one that would have a request begin at once; what is zero stays as it is.
type Change struct {
	// Slots is how many it may want at most.
	Slots int
	// Priority is the lowest that is enough.
	Priority int
	// Pool is another one.
	Pool string
	// Gives and Parks are what would be set free for it.
	Gives []scheduler.Give
	Parks []scheduler.Park
}

// Of says what is ahead of a request; lasts is how long requests will hold their slots, as far as it is known.
func Of(s scheduler.Snapshot, lasts map[string]scheduler.Span, id string) Outlook {
	i := slices.IndexFunc(s.Pending, func(r scheduler.Request) bool { return r.ID == id })
	if i < 0 {
		return Outlook{}
	}
	of := s.Pending[i]
	plan := scheduler.Schedule(s)
	o := Outlook{}
	o.Now, o.OnLoan = granted(plan, id)
	o.Gives, o.Parks = freed(plan, of.Name)
	if len(o.Now) > 0 {
		o.Known = true
		return o
	}
	behind := o.queue(s, plan, of)
	if o.Position <= maxPosition {
		matters := matter(s, of.Pool, behind)
		first, knownFirst := begin(matters, lasts, id, func(s scheduler.Span) time.Duration { return s.Low })[id]
		last, knownLast := begin(matters, lasts, id, func(s scheduler.Span) time.Duration { return s.High })[id]
		if o.Known = knownFirst && knownLast; o.Known {
			o.Begins = widened(scheduler.Span{Low: min(first, last), High: max(first, last)})
		}
	}
	if len(o.Gives)+len(o.Parks) == 0 {
		o.Changes = changes(s, of)
	}
	return o
}

// widened is a range with what could not be foreseen; one that is exact stays so.
func widened(s scheduler.Span) scheduler.Span {
	by := time.Duration(wider * float64(s.High-s.Low)).Round(time.Second)
	return scheduler.Span{Low: max(0, s.Low-by), High: s.High + by}
}

// queue finds its place, and who waits so far behind it that it does not matter, by id.
func (o *Outlook) queue(s scheduler.Snapshot, plan scheduler.Plan, of scheduler.Request) map[string]bool {
	pool := map[string]scheduler.Request{}
	for _, r := range s.Pending {
		if r.Pool == of.Pool && !r.Spare {
			pool[r.ID] = r
		}
	}
	behind, after := map[string]bool{}, 0
	for _, w := range plan.Waiting {
		r, is := pool[w.ID]
		switch {
		case !is:
		case o.Position > 0:
			if after++; after > maxBehind {
				behind[r.ID] = true
			}
		case r.ID == of.ID:
			o.Wait, o.Position = w, len(o.Ahead)+1
		default:
			o.Ahead = append(o.Ahead, r.Name)
		}
	}
	return behind
}

// matter is the part of a snapshot on which it depends when a request of a pool begins. Who waits behind it may get slots on loan that it
// could have got on loan; those far behind it are left out.
func matter(s scheduler.Snapshot, pool string, behind map[string]bool) (part scheduler.Snapshot) {
	part.Queues = s.Queues
	for _, n := range s.Nodes {
		if n.Pool == pool {
			part.Nodes = append(part.Nodes, n)
		}
	}
	for _, c := range s.Running {
		if c.Pool == pool {
			part.Running = append(part.Running, c)
		}
	}
	for _, r := range s.Pending {
		if r.Pool == pool && !behind[r.ID] {
			part.Pending = append(part.Pending, r)
		}
	}
	return part
}

// changes are those that would have a request begin at once.
func changes(s scheduler.Snapshot, of scheduler.Request) (all []Change) {
	try := func(change func(r *scheduler.Request)) (scheduler.Plan, bool) {
		other := s
		other.Pending = slices.Clone(s.Pending)
		i := slices.IndexFunc(other.Pending, func(r scheduler.Request) bool { return r.ID == of.ID })
		change(&other.Pending[i])
		plan := scheduler.Schedule(other)
		slots, _ := granted(plan, of.ID)
		gives, parks := freed(plan, of.Name)
		return plan, len(slots)+len(gives)+len(parks) > 0
	}
	if n := fewer(of, try); n > 0 {
		all = append(all, Change{Slots: n})
	}
	for _, p := range higher(s, of) {
		if plan, starts := try(func(r *scheduler.Request) { r.Priority = p }); starts {
			gives, parks := freed(plan, of.Name)
			all = append(all, Change{Priority: p, Gives: gives, Parks: parks})
			break
		}
	}
	for _, pool := range others(s, of) {
		if _, starts := try(func(r *scheduler.Request) { r.Pool = pool }); starts {
			all = append(all, Change{Pool: pool})
		}
	}
	return all
}

// fewer is the largest number of slots with which it would begin at once; 0: none. What begins with some number begins with fewer too.
func fewer(of scheduler.Request, try func(func(*scheduler.Request)) (scheduler.Plan, bool)) int {
	with := func(n int) bool {
		_, starts := try(func(r *scheduler.Request) { r.Slots, r.Min = n, 0 })
		return starts
	}
	low, high := 0, of.Slots-1
	if of.Min > 0 {
		high = of.Min - 1
	}
	for low < high {
		middle := (low + high + 1) / 2
		if with(middle) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	if low > 0 && with(low) {
		return low
	}
	return 0
}

// higher are the priorities just above those of others in its pool, and of its own, from the lowest.
func higher(s scheduler.Snapshot, of scheduler.Request) []int {
	var all []int
	for _, r := range s.Pending {
		if r.Pool == of.Pool && r.Priority >= of.Priority {
			all = append(all, r.Priority+1)
		}
	}
	for _, c := range s.Running {
		if c.Pool == of.Pool && c.Priority >= of.Priority {
			all = append(all, c.Priority+1)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// others are the other pools, by name.
func others(s scheduler.Snapshot, of scheduler.Request) []string {
	var all []string
	for _, n := range s.Nodes {
		if n.Pool != of.Pool {
			all = append(all, n.Pool)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func granted(plan scheduler.Plan, id string) ([]scheduler.Placement, bool) {
	for _, g := range plan.Grants {
		if g.ID == id {
			return g.Placements, g.OnLoan
		}
	}
	return nil, false
}

// freed is what is set free for a request, by its name.
func freed(plan scheduler.Plan, name string) (gives []scheduler.Give, parks []scheduler.Park) {
	for _, g := range plan.Gives {
		if g.To == name {
			gives = append(gives, g)
		}
	}
	for _, k := range plan.Parks {
		if k.To == name {
			parks = append(parks, k)
		}
	}
	return gives, parks
}

// Middle is where all but the shortest and the longest tenth of past durations lie, of which there is at least one.
func Middle(of []time.Duration) scheduler.Span {
	sorted := slices.Sorted(slices.Values(of))
	cut := len(sorted) / 10
	return scheduler.Span{Low: sorted[cut], High: sorted[len(sorted)-1-cut]}
}
