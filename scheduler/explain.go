package scheduler

import (
	"fmt"
	"slices"
	"strings"
)

// impossible says why the request could not be satisfied even if all jobs of its pool had ended; empty: it could.
func impossible(r Request, p *pool) string {
	if p == nil {
		return fmt.Sprintf("pool %q has no nodes: start a worker with --pool %s", r.Pool, r.Pool)
	}
	s := p.slots()
	if r.least() <= s.available {
		if near := together(p.nodes, r.With, available).slots().available; near < r.least() {
			return fmt.Sprintf("wants %s, but of %d in pool %q only %d are on nodes that reach %s: check the network between them (tandem events says which), or add workers",
				wanted(r), s.available, r.Pool, near, already(r))
		}
		return ""
	}
	var besides, advice []string
	if s.outOfReach > 0 {
		besides = append(besides, fmt.Sprintf("%d on %s", s.outOfReach, outOfReach(p)))
		advice = append(advice, "bring those back (tandem node list shows them)")
	}
	if s.serving > 0 {
		besides = append(besides, fmt.Sprintf("%d that serve models", s.serving))
		advice = append(advice, "stop serving one")
	}
	reason := fmt.Sprintf("wants %s, but pool %q has %d", wanted(r), r.Pool, s.available)
	if len(besides) > 0 {
		reason += fmt.Sprintf(" (and %s)", strings.Join(besides, " and "))
	}
	return reason + ": " + strings.Join(append(advice, "add workers or ask for fewer"), ", ")
}

// outOfReach counts the nodes no work may be placed on, by cause.
func outOfReach(p *pool) string {
	causes := map[string]int{}
	for _, n := range p.nodes {
		if n.Unavailable != "" {
			causes[n.Unavailable]++
		}
	}
	names := make([]string, 0, len(causes))
	for cause := range causes {
		names = append(names, cause)
	}
	slices.Sort(names)
	parts := make([]string, len(names))
	for i, cause := range names {
		parts[i] = count(causes[cause], cause+" node")
	}
	return strings.Join(parts, ", ")
}

// busy says why the first request of a pool, or a spare one, waits. Of the slots that are free, near are on nodes that
// reach each other.
func busy(r Request, p *pool, near int) string {
	s := p.slots()
	reason := fmt.Sprintf("wants %s, %d of %d in pool %q are free", wanted(r), s.free, s.available, r.Pool)
	if near < s.free {
		reason += fmt.Sprintf(", but only %d on nodes that reach %s", near, already(r))
	}
	if r.Spare {
		return reason
	}
	return reason + ": next in line"
}

// wanted is the number of slots a request wants, and how many it would begin with.
func wanted(r Request) string {
	if r.least() == r.Slots || r.Spare {
		return count(r.Slots, "slot")
	}
	return fmt.Sprintf("%s (%d are enough to begin)", count(r.Slots, "slot"), r.least())
}

// already names what a node has to reach so that the work can be there too.
func already(r Request) string {
	if len(r.With) == 0 {
		return "each other"
	}
	return "those it is on"
}

// behind says why a request waits behind another.
func behind(r, first Request) string {
	why := "is older"
	switch {
	case first.Priority > r.Priority:
		why = fmt.Sprintf("has priority %d", first.Priority)
	case r.Spare:
		why = "has not begun"
	}
	return fmt.Sprintf("waits behind %s, which %s", first.Name, why)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
