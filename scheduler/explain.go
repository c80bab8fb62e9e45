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
	// Parted: too many of the slots are on nodes that do not reach each other. Arguments: slots, least, pool, available, near, with.
	Parted Code = "parted"
	// Busy: it is the first in line, or spare, and too few slots are free. Arguments: slots, least, pool, free, available, serving, causes
	// as of TooFew, near, with, next.
	Busy Code = "busy"
	// Behind: another comes first. Arguments: first, and of older, priority and begun what is the case.
	Behind Code = "behind"
)

// Args are the arguments of a code; those that are 0 or not the case are left out, but for the counts that the code is about.
type Args map[string]string

// impossible says why the request could not be satisfied even if all jobs of its pool had ended; "": it could.
func impossible(r Request, p *pool) (Code, Args) {
	if p == nil {
		return NoNodes, Args{"pool": r.Pool}
	}
	s := p.slots()
	args := r.wanted()
	args.count("available", s.available)
	if r.least() <= s.available {
		near := together(p.nodes, r.With, available).slots().available
		if near >= r.least() {
			return "", nil
		}
		args.count("near", near)
		args.with(r)
		return Parted, args
	}
	p.others(args)
	return TooFew, args
}

// others counts the slots of the pool that are not available to training, with the reason.
func (p *pool) others(args Args) {
	s := p.slots()
	if s.outOfReach > 0 {
		args.count("out_of_reach", s.outOfReach)
		for cause, n := range p.unavailable() {
			args.count(cause, n)
		}
	}
	if s.serving > 0 {
		args.count("serving", s.serving)
	}
}

// unavailable counts the nodes no work may be placed on, by cause.
func (p *pool) unavailable() map[string]int {
	causes := map[string]int{}
	for _, n := range p.nodes {
		if n.Unavailable != "" {
			causes[n.Unavailable]++
		}
	}
	return causes
}

// busy says why the first request of a pool, or a spare one, waits. Of the slots that are free, near are on nodes that
// reach each other.
func busy(r Request, p *pool, near int) Args {
	s := p.slots()
	args := r.wanted()
	args.count("free", s.free)
	args.count("available", s.available)
	p.others(args)
	if near < s.free {
		args.count("near", near)
		args.with(r)
	}
	if !r.Spare {
		args["next"] = "true"
	}
	return args
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
func behind(r, first Request) Args {
	args := Args{"first": first.Name}
	switch {
	case first.Priority > r.Priority:
		args.count("priority", first.Priority)
	case r.Spare:
		args["begun"] = "false"
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
