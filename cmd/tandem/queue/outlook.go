package queue

import (
	"fmt"
	"strings"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// fewAhead is how many of those before a job are named.
const fewAhead = 5

// Text says what is ahead of a job of a name; would: if it were submitted now.
func Text(o *tandemv1.Outlook, name string, would bool, now time.Time) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s%s\n", label, fmt.Sprintf(format, args...))
	}
	waits, begins := "waits", "begins"
	if would {
		waits, begins = "would wait", "would begin"
	}
	switch {
	case len(o.GetNow()) > 0:
		fmt.Fprintf(&b, "%s %s at once in pool %s: %s\n", name, begins, o.GetPool(), places(o.GetNow()))
		if o.GetOnLoan() {
			line("Loan:", "another is before it, and gets the slots when it can begin with them")
		}
	case o.GetPosition() == 0:
		fmt.Fprintf(&b, "%s does not wait for slots\n", name)
		if o.GetReason() != "" {
			line("State:", "%s", o.GetReason())
		}
	default:
		fmt.Fprintf(&b, "%s %s in pool %s: number %d of those that wait\n", name, waits, o.GetPool(), o.GetPosition())
		line("Why:", "%s", o.GetReason())
		if ahead := o.GetAhead(); len(ahead) > 0 {
			line("Ahead:", "%s", some(ahead, int(o.GetPosition())-1))
		}
		line("Begins:", "%s", when(o, now))
	}
	for i, f := range o.GetFrees() {
		line(label("Takes:", i), "%s", freed(f))
	}
	for i, c := range o.GetChanges() {
		line(label("At once:", i), "%s", change(c))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// label is a label of the first line of several.
func label(l string, i int) string {
	if i > 0 {
		return ""
	}
	return l
}

func places(all []*tandemv1.NodeSlots) string {
	var words []string
	for _, n := range all {
		words = append(words, fmt.Sprintf("%s on %s", slots(n.GetSlots()), n.GetNode()))
	}
	return strings.Join(words, ", ")
}

// some names the first of the jobs ahead, and how many more there are.
func some(names []string, all int) string {
	few := names[:min(len(names), fewAhead)]
	text := strings.Join(few, ", ")
	if more := all - len(few); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// when is when it begins.
func when(o *tandemv1.Outlook, now time.Time) string {
	if o.GetBeginsAfter() == nil {
		return "nobody knows: it is not known how long what is before it takes"
	}
	first, last := o.GetBeginsAfter().AsTime().Sub(now), o.GetBeginsBefore().AsTime().Sub(now)
	if last < time.Second {
		return "as soon as the slots are free"
	}
	if first = max(0, first); last-first < time.Second {
		return fmt.Sprintf("in %s, as far as can be predicted", short(last))
	}
	return fmt.Sprintf("in %s to %s, as far as can be predicted", short(first), short(last))
}

// short is a duration without what nobody reads.
func short(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= 10*time.Minute:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}

func freed(f *tandemv1.Freed) string {
	if f.GetParked() {
		return fmt.Sprintf("all %s of %s, which keeps a checkpoint and waits again", slots(f.GetSlots()), f.GetJob())
	}
	return fmt.Sprintf("%s of %s, which goes on with fewer", slots(f.GetSlots()), f.GetJob())
}

func change(c *tandemv1.StartChange) string {
	text := ""
	switch {
	case c.GetWorkers() > 0:
		text = fmt.Sprintf("with resources.workers=%d or fewer", c.GetWorkers())
	case c.GetPool() != "":
		text = "with resources.pool=" + c.GetPool()
	default:
		text = fmt.Sprintf("with priority=%d or higher", c.GetPriority())
	}
	for _, f := range c.GetFrees() {
		text += "; it takes " + freed(f)
	}
	return text
}

func slots(n int32) string {
	if n == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", n)
}
