package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestTraces runs testdata/*.txt: "run [rigid] [no-backfill] [no-preemption] [policy=P] [overstate=N]", a trace, and what became of it;
// "generate [kind=K] [users=N]" and the same, a shape, and the summary of what became of the trace (go test -rewrite accepts what comes out).
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			cfg := DefaultConfig()
			cfg.Rigid, cfg.NoBackfill, cfg.NoPreemption = d.HasArg("rigid"), d.HasArg("no-backfill"), d.HasArg("no-preemption")
			if d.HasArg("policy") {
				policy := ""
				d.ScanArgs(t, "policy", &policy)
				cfg.Policy = Policy(policy)
			}
			if d.HasArg("overstate") {
				factor := 0
				d.ScanArgs(t, "overstate", &factor)
				cfg.Overstate = float64(factor)
			}
			if err := cfg.Validate(); err != nil {
				return err.Error() + "\n"
			}
			switch d.Cmd {
			case "run":
				trace, err := Parse(strings.NewReader(d.Input))
				if err != nil {
					return err.Error() + "\n"
				}
				return outcomes(Run(trace, cfg))
			case "generate":
				shape, kind := Shape{Kind: HeavyTailed}, ""
				if d.HasArg("kind") {
					d.ScanArgs(t, "kind", &kind)
					shape.Kind = Kind(kind)
				}
				if d.HasArg("users") {
					d.ScanArgs(t, "users", &shape.Users)
				}
				if _, err := fmt.Sscanf(d.Input, "nodes=%d slots=%d jobs=%d load=%f elastic=%f failures=%f urgent=%f",
					&shape.Nodes, &shape.Slots, &shape.Jobs, &shape.Load, &shape.Elastic, &shape.Failures, &shape.Urgent); err != nil {
					d.Fatalf(t, "%v", err)
				}
				if err := shape.Validate(); err != nil {
					return err.Error() + "\n"
				}
				return summary(Run(Generate(shape, uniform(1)), cfg).Summary)
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

func uniform(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 0)).Float64 } //nolint:gosec // the same each time

func outcomes(r Result) string {
	var b strings.Builder
	for _, o := range r.Jobs {
		fmt.Fprintf(&b, "%s:", o.Name)
		if o.Began {
			fmt.Fprintf(&b, " waited %s", o.Wait)
		}
		if o.Ended {
			fmt.Fprintf(&b, ", ended after %s", o.Turnaround)
		} else if o.Killed {
			b.WriteString(", was killed at its limit")
		} else {
			b.WriteString(" never ended")
		}
		if o.Starts > 1 || o.Resizes > 0 || o.Lost > 0 {
			fmt.Fprintf(&b, ", %d starts, %d resizes, %d parks, %.0f slot-seconds lost", o.Starts, o.Resizes, o.Parks, o.Lost)
		}
		b.WriteByte('\n')
	}
	return b.String() + summary(r.Summary)
}

func summary(s Summary) string {
	text := fmt.Sprintf("%d of %d ended within %s; wait %s, median %s, p95 %s; turnaround %s, p95 %s; %.1f %% used; %.2f slot-hours lost; "+
		"%d starts, %d resizes, %d parks\n",
		s.Ended, s.Jobs, s.Makespan, short(s.MeanWait), short(s.MedianWait), short(s.Wait95), short(s.MeanTurnaround), short(s.Turnaround95),
		100*s.Utilisation, s.LostHours, s.Starts, s.Resizes, s.Parks)
	if s.Users > 1 {
		text += fmt.Sprintf("fairness to %d users %.3f\n", s.Users, s.Fairness)
	}
	if s.Jobs > 20 {
		text += "slowdown"
		for _, c := range s.Classes {
			text += fmt.Sprintf("; %s slots: %.2f, p95 %.2f of %d", c.Name(), c.MeanSlowdown, c.Slowdown95, c.Ended)
		}
		text += "\n"
	}
	return text
}

func short(d time.Duration) time.Duration { return d.Round(time.Second) }

// traces are small and odd.
func traces(t *rapid.T) Trace {
	var trace Trace
	duration := func(most int, what string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, what)) * time.Second
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
		trace.Nodes = append(trace.Nodes, Node{Name: fmt.Sprint("n", i), Pool: DefaultPool, Slots: rapid.IntRange(1, 4).Draw(t, "slots")})
	}
	for i := range rapid.IntRange(0, 10).Draw(t, "jobs") {
		j := Job{
			Name: fmt.Sprint("j", i), Pool: DefaultPool, At: duration(3000, "at"), Slots: rapid.IntRange(1, 8).Draw(t, "wanted"),
			Priority: rapid.IntRange(0, 1).Draw(t, "priority"), Work: time.Second + duration(3000, "work"),
		}
		j.Min = rapid.IntRange(1, j.Slots).Draw(t, "min")
		if rapid.Bool().Draw(t, "named") {
			j.User, j.Project = rapid.SampledFrom([]string{"", "u1", "u2"}).Draw(t, "user"), "p"
		}
		if rapid.Bool().Draw(t, "limited") {
			j.Limit = time.Second + duration(4000, "limit")
		}
		trace.Jobs = append(trace.Jobs, j)
	}
	for range rapid.IntRange(0, 3).Draw(t, "failures") {
		trace.Failures = append(trace.Failures, Failure{Node: rapid.SampledFrom(trace.Nodes).Draw(t, "node").Name, At: duration(5000, "fails"), For: time.Second + duration(900, "for")})
	}
	return trace
}

// TestAccounts: never are more slots used than there are; each job that could ever fit ends, after what it had to do at least; what is used
// adds up to what was done, lost, or went to beginning.
func TestAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trace := traces(t)
		cfg := DefaultConfig()
		cfg.Rigid = rapid.Bool().Draw(t, "rigid")
		result := Run(trace, cfg)
		all := 0
		for _, n := range trace.Nodes {
			all += n.Slots
		}
		for _, p := range result.Graph {
			if p.Used > p.Slots || p.Slots > all {
				t.Fatalf("%d of %d slots are used at %s", p.Used, p.Slots, p.At)
			}
		}
		used, spent := 0.0, result.Summary.LostHours*3600
		for i, p := range result.Graph[:max(0, len(result.Graph)-1)] {
			used += float64(p.Used) * (result.Graph[i+1].At - p.At).Seconds()
		}
		most := used
		for _, o := range result.Jobs {
			j := trace.Jobs[slices.IndexFunc(trace.Jobs, func(j Job) bool { return j.Name == o.Name })]
			least := j.Min
			if cfg.Rigid {
				least = j.Slots
			}
			if o.Ended != (least <= all) {
				t.Fatalf("%s wants %d of %d slots and ended: %t", o.Name, least, all, o.Ended)
			}
			if !o.Ended {
				continue
			}
			if o.Turnaround < o.Wait+cfg.Start+j.Work {
				t.Fatalf("%s ended after %s, waited %s and has work for %s", o.Name, o.Turnaround, o.Wait, j.Work)
			}
			spent += float64(j.Slots) * j.Work.Seconds()
			most -= float64(o.Starts*j.Slots) * cfg.Start.Seconds()
		}
		// Each start takes its slots for as long as cfg.Start at most; a job that resizes rounds up to the next nanosecond.
		if spent > used+1e-3 || spent < most-1e-3 {
			t.Fatalf("%f slot-seconds were used, and %f done or lost", used, spent)
		}
	})
}

// TestTraceText: a trace that is written is read as it was, and runs the same.
func TestTraceText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trace := traces(t)
		again, err := Parse(strings.NewReader(trace.String()))
		if diff := cmp.Diff(trace, again); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		if diff := cmp.Diff(Run(trace, DefaultConfig()), Run(again, DefaultConfig())); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestPicture(t *testing.T) {
	trace, err := Parse(strings.NewReader("node n slots=4\njob a at=0s slots=4 work=90s\njob b at=0s slots=2 work=90s\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "0 to 100 %  slots in use\n█████▄▄▄▄▄\n0 to 1      jobs that wait\n█████     \n0    3m20s\n"
	if diff := cmp.Diff(want, Run(trace, DefaultConfig()).Picture(10)); diff != "" {
		t.Error(diff)
	}
	if got := Run(Trace{}, DefaultConfig()).Picture(10); got != "" {
		t.Errorf("nothing is drawn as %q", got)
	}
}
