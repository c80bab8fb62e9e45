package scheduler

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios runs testdata/*.txt: "schedule", the lines of a cluster, and the plan that it gives (go test -rewrite accepts what comes
// out).
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "schedule" {
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			return format(Schedule(parse(t, d.Input)))
		})
	})
}

// parse reads
//
//	node ID POOL SLOTS [free=a,b] [serving=N] [unreachable=b,c] [labels=k:v,...] [rack=NAME] [spread] [lost|cordoned]      all slots are free when free= is left out
//	job NAME POOL SLOTS priority=N age=DURATION [min=N] [spare=true] [with=a,b] [avoid=a,b] [parks=true] [limit=DURATION] [project=NAME] [labels=k:v,...] [whole=true]
//	claim ID POOL GIVES priority=N age=DURATION [slots=N] [leaving=N] [parks=true] [protected=true] [loan=true] [unsaved=DURATION]
//	                                            [ends=DURATION..DURATION] [project=NAME] [at=a,b]
//	queue PROJECT POOL RECENT [weight=N]
func parse(t *testing.T, text string) Snapshot {
	t.Helper()
	var c Snapshot
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		number, err := strconv.Atoi(f[3])
		if err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		switch f[0] {
		case "node":
			n := Node{ID: f[1], Pool: f[2], Slots: number}
			for i := range number {
				n.Free = append(n.Free, fmt.Sprintf("cpu%d", i))
			}
			for _, option := range f[4:] {
				key, value, _ := strings.Cut(option, "=")
				switch key {
				case "free":
					n.Free = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
				case "serving":
					if n.Serving, err = strconv.Atoi(value); err != nil {
						t.Fatalf("line %q: %v", lines.Text(), err)
					}
				case "rack":
					n.Rack = value
				case "spread":
					n.Spread = true
				case "labels":
					n.Labels = labels(value)
				case "unreachable":
					n.Unreachable = strings.Split(value, ",")
				default:
					n.Unavailable = option
				}
			}
			c.Nodes = append(c.Nodes, n)
		case "job":
			r := Request{ID: f[1], Name: f[1], Pool: f[2], Slots: number}
			for _, option := range f[4:] {
				key, value, _ := strings.Cut(option, "=")
				switch key {
				case "project":
					r.Project = value
				case "whole":
					r.Whole, err = strconv.ParseBool(value)
				case "labels":
					r.Labels = labels(value)
				case "avoid":
					r.Avoid = strings.Split(value, ",")
				case "with":
					r.With = strings.Split(value, ",")
				case "priority":
					r.Priority, err = strconv.Atoi(value)
				case "min":
					r.Min, err = strconv.Atoi(value)
				case "spare":
					r.Spare, err = strconv.ParseBool(value)
				case "parks":
					r.Parks, err = strconv.ParseBool(value)
				case "limit":
					r.Limit, err = time.ParseDuration(value)
				case "age":
					r.CreatedAt, err = ago(value)
				default:
					err = fmt.Errorf("unknown option %q", key)
				}
				if err != nil {
					t.Fatalf("line %q: %v", lines.Text(), err)
				}
			}
			c.Pending = append(c.Pending, r)
		case "claim":
			claim := Claim{ID: f[1], Pool: f[2], Gives: number, Slots: number}
			for _, option := range f[4:] {
				key, value, _ := strings.Cut(option, "=")
				switch key {
				case "at":
					for _, node := range strings.Split(value, ",") {
						claim.At = append(claim.At, Placement{Node: node, Slot: "cpu0"})
					}
				case "priority":
					claim.Priority, err = strconv.Atoi(value)
				case "project":
					claim.Project = value
				case "slots":
					claim.Slots, err = strconv.Atoi(value)
				case "leaving":
					claim.Leaving, err = strconv.Atoi(value)
				case "parks":
					claim.Parks, err = strconv.ParseBool(value)
				case "protected":
					claim.Protected, err = strconv.ParseBool(value)
				case "loan":
					claim.OnLoan, err = strconv.ParseBool(value)
				case "unsaved":
					claim.Unsaved, err = time.ParseDuration(value)
				case "ends":
					low, high, _ := strings.Cut(value, "..")
					if claim.Ends.Low, err = time.ParseDuration(low); err == nil {
						claim.Ends.High, err = time.ParseDuration(high)
					}
				case "age":
					claim.CreatedAt, err = ago(value)
				default:
					err = fmt.Errorf("unknown option %q", key)
				}
				if err != nil {
					t.Fatalf("line %q: %v", lines.Text(), err)
				}
			}
			c.Running = append(c.Running, claim)
		case "queue":
			q := Queue{Project: f[1], Pool: f[2], Recent: float64(number)}
			for _, option := range f[4:] {
				if q.Weight, err = strconv.ParseFloat(strings.TrimPrefix(option, "weight="), 64); err != nil {
					t.Fatalf("line %q: %v", lines.Text(), err)
				}
			}
			c.Queues = append(c.Queues, q)
		default:
			t.Fatalf("line %q: not a node, job, claim or queue", lines.Text())
		}
	}
	return c
}

// labels reads key:value,...
func labels(text string) map[string]string {
	all := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(pair, ":")
		all[key] = value
	}
	return all
}

// ago is the time that was an age ago.
func ago(age string) (time.Time, error) {
	d, err := time.ParseDuration(age)
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-d), err
}

func format(p Plan) string {
	var b strings.Builder
	for _, g := range p.Grants {
		lent := ""
		if g.OnLoan {
			lent = " on loan"
		}
		fmt.Fprintf(&b, "grant %s%s:", g.ID, lent)
		for _, at := range g.Placements {
			fmt.Fprintf(&b, " %s/%s", at.Node, at.Slot)
		}
		b.WriteByte('\n')
	}
	for _, g := range p.Gives {
		fmt.Fprintf(&b, "give %s: %d to %s\n", g.ID, g.Slots, g.To)
	}
	for _, k := range p.Parks {
		fmt.Fprintf(&b, "park %s for %s\n", k.ID, k.To)
	}
	for _, w := range p.Waiting {
		fmt.Fprintf(&b, "wait %s: %s", w.ID, w.Code)
		for _, name := range slices.Sorted(maps.Keys(w.Args)) {
			fmt.Fprintf(&b, " %s=%s", name, w.Args[name])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
