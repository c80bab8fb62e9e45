package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Trace is what there is and what happens.
type Trace struct {
	Nodes    []Node
	Jobs     []Job
	Failures []Failure
}

// Node is a machine.
type Node struct {
	Name  string
	Pool  string
	Slots int
}

// Job is work that arrives.
type Job struct {
	Name string
	Pool string
	// At is when it arrives.
	At time.Duration
	// Slots it wants, and Min that are enough; as many when it cannot do with fewer.
	Slots, Min int
	Priority   int
	// Work is how long it takes with all its slots.
	Work time.Duration
	// Limit is how long it takes at most once it has started, as its user says; 0: its user knows that it is Work.
	Limit time.Duration
	// User and Project it belongs to; empty: those of all that name none.
	User, Project string
}

// Failure is a node that is lost for a while.
type Failure struct {
	Node    string
	At, For time.Duration
}

// DefaultPool is the pool of what names none.
const DefaultPool = "default"

// Limits of a trace. What is added up, nanoseconds times slots, has to fit 63 bits, and what is simulated a machine.
const (
	maxTime      = 10_000 * time.Hour
	maxSlots     = 10_000
	maxAllSlots  = 200_000
	maxSlotHours = 2_000_000 // of a job
	maxJobs      = 100_000
	maxFailures  = 100_000
	maxName      = 100 // bytes
)

// Parse reads a trace. Its errors name the line and say what is wrong with it.
func Parse(r io.Reader) (Trace, error) {
	var t Trace
	seen := map[string]bool{}
	fails := map[string]int{} // node -> first line that has it fail
	slots, n := 0, 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		n++
		words := strings.Fields(strings.TrimPrefix(lines.Text(), "\ufeff")) // some editors begin a text with it
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		nodes, failures := len(t.Nodes), len(t.Failures)
		if err := t.line(words, seen); err != nil {
			return Trace{}, fmt.Errorf("line %d: %w", n, err)
		}
		if len(t.Nodes) > nodes {
			slots += t.Nodes[nodes].Slots
		}
		if len(t.Failures) > failures && fails[words[1]] == 0 {
			fails[words[1]] = n
		}
		switch {
		case slots > maxAllSlots:
			return Trace{}, fmt.Errorf("line %d: the nodes have more than %d slots: simulate a part of the cluster", n, maxAllSlots)
		case len(t.Jobs) > maxJobs:
			return Trace{}, fmt.Errorf("line %d: there are more than %d jobs: simulate fewer days", n, maxJobs)
		case len(t.Failures) > maxFailures:
			return Trace{}, fmt.Errorf("line %d: there are more than %d failures: simulate fewer days", n, maxFailures)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return Trace{}, fmt.Errorf("line %d: it has more than %d bytes: a trace is text, a line for each job", n+1, bufio.MaxScanTokenSize)
	} else if err != nil {
		return Trace{}, fmt.Errorf("read the trace: %w", err)
	}
	for _, f := range t.Failures {
		if !seen["node "+f.Node] {
			return Trace{}, fmt.Errorf("line %d: node %s fails, and the trace has no node of this name", fails[f.Node], f.Node)
		}
	}
	return t, nil
}

// line reads one line. seen has the nodes and jobs so far.
func (t *Trace) line(words []string, seen map[string]bool) error {
	kind := words[0]
	if kind != "node" && kind != "job" && kind != "fail" {
		return fmt.Errorf("%q is not node, job or fail, with which a line begins", abridged(kind))
	}
	if len(words) < 2 || strings.Contains(words[1], "=") {
		return fmt.Errorf("%s needs a name", kind)
	}
	name := words[1]
	if len(name) > maxName || !utf8.ValidString(name) {
		return fmt.Errorf("%s %q: a name is UTF-8 text of at most %d bytes", kind, abridged(name), maxName)
	}
	if kind != "fail" {
		if seen[kind+" "+name] {
			return fmt.Errorf("%s %s already exists", kind, name)
		}
		seen[kind+" "+name] = true
	}
	f := fields{values: map[string]string{}}
	for _, word := range words[2:] {
		key, value, ok := strings.Cut(word, "=")
		if _, twice := f.values[key]; !ok || twice {
			return fmt.Errorf("%q is not key=value, or its key occurs twice", abridged(word))
		}
		f.values[key] = value
	}
	switch kind {
	case "node":
		t.Nodes = append(t.Nodes, Node{Name: name, Pool: f.text("pool", DefaultPool), Slots: f.number("slots", 1, maxSlots)})
	case "job":
		j := Job{
			Name: name, Pool: f.text("pool", DefaultPool), At: f.duration("at", 0), Slots: f.number("slots", 1, maxSlots),
			Work: f.duration("work", time.Nanosecond),
		}
		j.Min = j.Slots
		if f.has("min") {
			j.Min = f.number("min", 1, j.Slots)
		}
		if f.has("priority") {
			j.Priority = f.number("priority", -1000, 1000)
		}
		if f.has("limit") {
			j.Limit = f.duration("limit", time.Nanosecond)
		}
		j.User, j.Project = f.text("user", ""), f.text("project", "")
		if f.err == nil && float64(j.Slots)*j.Work.Hours() > maxSlotHours {
			f.fail("slots=%d work=%s are more than %d slot-hours", j.Slots, j.Work, maxSlotHours)
		}
		t.Jobs = append(t.Jobs, j)
	case "fail":
		t.Failures = append(t.Failures, Failure{Node: name, At: f.duration("at", 0), For: f.duration("for", time.Nanosecond)})
	}
	return f.done()
}

// fields are the keys of a line; what is read is taken out.
type fields struct {
	values map[string]string
	err    error
}

func (f *fields) has(key string) bool { _, ok := f.values[key]; return ok }

// word takes a value as it is.
func (f *fields) word(key string) string {
	value := f.values[key]
	delete(f.values, key)
	return value
}

func (f *fields) text(key, otherwise string) string {
	value := f.word(key)
	switch {
	case value == "":
		return otherwise
	case len(value) > maxName || !utf8.ValidString(value):
		f.fail("%s=%q: a name is UTF-8 text of at most %d bytes", key, abridged(value), maxName)
	}
	return value
}

// abridged is the beginning of a word that may be anything.
func abridged(word string) string {
	const most = 40
	if len(word) > most {
		return word[:most] + "..."
	}
	return word
}

func (f *fields) fail(format string, args ...any) {
	f.err = errors.Join(f.err, fmt.Errorf(format, args...))
}

func (f *fields) number(key string, least, most int) int {
	text := f.word(key)
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		f.fail("%s must be a whole number from %d to %d, not %q", key, least, most, abridged(text))
	}
	return n
}

func (f *fields) duration(key string, least time.Duration) time.Duration {
	text := f.word(key)
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > maxTime {
		f.fail("%s must be a duration from %s to 10000h, such as 90s or 2h30m, not %q", key, least, abridged(text))
	}
	return d
}

func (f *fields) done() error {
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		f.fail("unknown key %q", abridged(key))
	}
	return f.err
}

// String is the trace as Parse reads it.
func (t Trace) String() string {
	var b strings.Builder
	pool := func(name string) string {
		if name == DefaultPool {
			return ""
		}
		return " pool=" + name
	}
	for _, n := range t.Nodes {
		fmt.Fprintf(&b, "node %s slots=%d%s\n", n.Name, n.Slots, pool(n.Pool))
	}
	for _, j := range t.Jobs {
		fmt.Fprintf(&b, "job %s at=%s slots=%d work=%s", j.Name, j.At, j.Slots, j.Work)
		if j.Min != j.Slots {
			fmt.Fprintf(&b, " min=%d", j.Min)
		}
		if j.Priority != 0 {
			fmt.Fprintf(&b, " priority=%d", j.Priority)
		}
		for _, word := range [][2]string{{"user", j.User}, {"project", j.Project}} {
			if word[1] != "" {
				fmt.Fprintf(&b, " %s=%s", word[0], word[1])
			}
		}
		if j.Limit != 0 {
			fmt.Fprintf(&b, " limit=%s", j.Limit)
		}
		fmt.Fprintf(&b, "%s\n", pool(j.Pool))
	}
	for _, f := range t.Failures {
		fmt.Fprintf(&b, "fail %s at=%s for=%s\n", f.Node, f.At, f.For)
	}
	return b.String()
}
