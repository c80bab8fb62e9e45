package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
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
}

// Failure is a node that is lost for a while.
type Failure struct {
	Node    string
	At, For time.Duration
}

// DefaultPool is the pool of what names none.
const DefaultPool = "default"

// What is added up, nanoseconds times slots, has to fit 63 bits.
const (
	maxTime  = 10_000 * time.Hour
	maxSlots = 10_000
)

// Parse reads a trace. Its errors name the line and say what is wrong with it.
func Parse(r io.Reader) (Trace, error) {
	var t Trace
	seen := map[string]bool{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := t.line(words, seen); err != nil {
			return Trace{}, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Trace{}, fmt.Errorf("read the trace: %w", err)
	}
	for _, f := range t.Failures {
		if !seen["node "+f.Node] {
			return Trace{}, fmt.Errorf("node %s fails, and the trace has no node of this name", f.Node)
		}
	}
	return t, nil
}

// line reads one line. seen has the nodes and jobs so far.
func (t *Trace) line(words []string, seen map[string]bool) error {
	kind := words[0]
	if kind != "node" && kind != "job" && kind != "fail" {
		return fmt.Errorf("%q is not node, job or fail", kind)
	}
	if len(words) < 2 || strings.Contains(words[1], "=") {
		return fmt.Errorf("%s needs a name", kind)
	}
	name := words[1]
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
			return fmt.Errorf("%q is not key=value, or its key occurs twice", word)
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

func (f *fields) text(key, otherwise string) string {
	value, ok := f.values[key]
	delete(f.values, key)
	if !ok || value == "" {
		return otherwise
	}
	return value
}

func (f *fields) fail(format string, args ...any) {
	f.err = errors.Join(f.err, fmt.Errorf(format, args...))
}

func (f *fields) number(key string, least, most int) int {
	text := f.text(key, "")
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		f.fail("%s must be a whole number from %d to %d, not %q", key, least, most, text)
	}
	return n
}

func (f *fields) duration(key string, least time.Duration) time.Duration {
	text := f.text(key, "")
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > maxTime {
		f.fail("%s must be a duration such as 90s or 2h30m, at most 10000h, not %q", key, text)
	}
	return d
}

func (f *fields) done() error {
	for key := range f.values {
		f.fail("unknown key %q", key)
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
		fmt.Fprintf(&b, "%s\n", pool(j.Pool))
	}
	for _, f := range t.Failures {
		fmt.Fprintf(&b, "fail %s at=%s for=%s\n", f.Node, f.At, f.For)
	}
	return b.String()
}
