package scheduler

import "strconv"

// Code is why a request waits.
type Code string

const (
	// NoNodes: the pool has none. Arguments: pool.
	NoNodes Code = "no-nodes"
	// TooFew: it wants more than the pool could ever give. Arguments: slots, least, pool, available, serving, and by the cause for which
	// no work may be placed on nodes how many nodes that are.
	TooFew Code = "too-few"
	// Labelled: it wants more than the nodes with its labels could ever give. Arguments: slots, least, pool, labels, available.
	Labelled Code = "labelled"
	// NotWhole: no nodes together have as many slots as it wants, when it takes them as a whole. Arguments: slots, least, pool, labels, available.
	NotWhole Code = "not-whole"
	// Unreachable: too many of the slots are on nodes that do not reach each other. Arguments: slots, least, pool, available, near, with.
	Unreachable Code = "unreachable"
	// Busy: it is the first in line, or spare, and too few slots are free. Arguments: slots, least, pool, free, available, serving, causes
	// as of TooFew, near, with, next.
	Busy Code = "busy"
	// Behind: another comes first. Arguments: first, and of older, priority, begun and share what is the case.
	Behind Code = "behind"
)

// Args are the arguments of a code; those that are 0 or not the case are left out, but for the counts that the code is about.
type Args map[string]string

// explain says why each request waits that got nothing.
func (p *pass) explain() {
	for _, e := range p.queue {
		if e.code != "" {
			p.plan.Waiting = append(p.plan.Waiting, Wait{e.ID, e.code, e.args()})
		}
	}
}

// args are the arguments of an entry's code.
func (e *entry) args() Args {
	switch e.code {
	case NoNodes:
		return Args{"pool": e.Pool}
	case Behind:
		return behind(e)
	}
	args := e.wanted()
	args.count("available", e.pool.availableTo(e.Request))
	if len(e.Labels) > 0 {
		args["labels"] = e.labelText()
	}
	switch e.code {
	case NotWhole:
		args.count("available", e.pool.wholeTo(e.Request))
		return args
	case Labelled:
		return args
	case Unreachable:
		args.count("near", e.near)
		args.with(e.Request)
	case Busy:
		args.count("free", e.free)
		switch {
		case e.Whole:
			args.count("whole", e.near)
		case e.near < e.free:
			args.count("near", e.near)
			args.with(e.Request)
		}
		if !e.Spare {
			args["next"] = "true"
		}
		e.pool.others(args)
	default:
		e.pool.others(args)
	}
	return args
}

// others counts the slots of the pool that are not available to training, with the reason.
func (p *pool) others(args Args) {
	if p.outOfReach > 0 {
		args.count("out_of_reach", p.outOfReach)
		for cause, n := range p.unavailable {
			args.count(cause, n)
		}
	}
	if p.disabled > 0 {
		args.count("disabled", p.disabled)
	}
	if p.serving > 0 {
		args.count("serving", p.serving)
	}
}

// wanted is the pool of a request, the number of slots it wants, and how many it would begin with if those are fewer.
func (r Request) wanted() Args {
	args := Args{"pool": r.Pool}
	args.count("slots", r.Slots)
	if r.least() != r.Slots && !r.Spare {
		args.count("least", r.least())
	}
	return args
}

// behind says why a request waits behind another.
func behind(e *entry) Args {
	first := e.behind
	args := Args{"first": first.Name}
	switch {
	case first.Priority > e.Priority:
		args.count("priority", first.Priority)
	case e.Spare:
		args["begun"] = "false"
	case e.share != first.share && e.had > first.had:
		args["share"] = "true"
	default:
		args["older"] = "true"
	}
	return args
}

func (a Args) count(name string, n int) { a[name] = strconv.Itoa(n) }

// with says that nodes have to reach those that the work is on already, not only each other.
func (a Args) with(r Request) {
	if len(r.With) > 0 {
		a["with"] = "true"
	}
}
