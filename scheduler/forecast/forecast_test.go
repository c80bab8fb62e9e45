package forecast

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tandem.dev/scheduler"
	"tandem.dev/scheduler/sim"
)

func exactly(d time.Duration) scheduler.Span { return scheduler.Span{Low: d, High: d} }

// TestForecastIsWhatHappens: where it is known how long all takes, nothing comes later and nothing fails, each request begins when it was
// said.
func TestForecastIsWhatHappens(t *testing.T) {
	begun := 0
	rapid.Check(t, func(t *rapid.T) {
		var trace sim.Trace
		var s scheduler.Snapshot
		lasts := map[string]scheduler.Span{}
		for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
			n := scheduler.Node{ID: fmt.Sprint("n", i), Pool: sim.DefaultPool, Slots: rapid.IntRange(1, 4).Draw(t, "slots")}
			for slot := range n.Slots {
				n.Free = append(n.Free, fmt.Sprint(slot))
			}
			s.Nodes = append(s.Nodes, n)
			trace.Nodes = append(trace.Nodes, sim.Node{Name: n.ID, Pool: n.Pool, Slots: n.Slots})
		}
		for i := range rapid.IntRange(1, 8).Draw(t, "jobs") {
			// Whole tens of minutes, so that it does not matter how exactly ends are predicted.
			j := sim.Job{
				Name: fmt.Sprint("j", i), Pool: sim.DefaultPool, Slots: rapid.IntRange(1, 6).Draw(t, "wants"), At: time.Duration(i),
				Priority: rapid.IntRange(0, 1).Draw(t, "priority"),
				Work:     time.Duration(rapid.IntRange(1, 6).Draw(t, "work")) * 10 * time.Minute,
			}
			j.At, j.Min = 0, j.Slots
			trace.Jobs = append(trace.Jobs, j)
			s.Pending = append(s.Pending, scheduler.Request{
				ID: j.Name, Name: j.Name, Pool: j.Pool, Slots: j.Slots, Priority: j.Priority, Parks: true, CreatedAt: time.Unix(0, 0).UTC(),
			})
			lasts[j.Name] = exactly(j.Work)
		}
		for _, o := range sim.Run(trace, sim.Config{Checkpoint: time.Hour}).Jobs {
			said := Of(s, lasts, o.Name)
			if said.Known != o.Began || said.Begins != exactly(o.Wait) && said.Begins != (scheduler.Span{}) {
				t.Fatalf("%s: said %v (known: %v), and it began: %v, after %s", o.Name, said.Begins, said.Known, o.Began, o.Wait)
			}
			if o.Began && o.Wait > 0 {
				begun++
			}
		}
	})
	if begun < 50 {
		t.Errorf("only %d requests began later", begun)
	}
}

// TestOutlook: place, range, what is not known, and what would have it begin at once.
func TestOutlook(t *testing.T) {
	at := func(n int) (all []scheduler.Placement) {
		for i := range n {
			all = append(all, scheduler.Placement{Node: "n1", Slot: fmt.Sprint(i)})
		}
		return all
	}
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	s := scheduler.Snapshot{
		Nodes: []scheduler.Node{
			{ID: "n1", Pool: "a", Slots: 4, Free: []string{"3"}},
			{ID: "n2", Pool: "b", Slots: 4, Free: []string{"0", "1", "2"}},
		},
		Running: []scheduler.Claim{{
			ID: "runs", Pool: "a", Priority: 1, Slots: 3, Parks: true, At: at(3),
			Ends: scheduler.Span{Low: 10 * time.Minute, High: 15 * time.Minute},
		}},
		Pending: []scheduler.Request{
			{ID: "wide", Name: "wide", Pool: "a", Slots: 4, Priority: 1, CreatedAt: old},
			{ID: "next", Name: "next", Pool: "a", Slots: 2, Priority: 1, CreatedAt: young},
		},
	}
	wide := Of(s, nil, "wide")
	want := Outlook{
		Wait:     scheduler.Schedule(s).Waiting[0],
		Position: 1, Known: true,
		Begins:  scheduler.Span{Low: 510 * time.Second, High: 990 * time.Second}, // 10 to 15 minutes, and what could not be foreseen
		Changes: []Change{{Slots: 1}, {Priority: 2, Parks: []scheduler.Park{{ID: "runs", To: "wide"}}}},
	}
	if diff := cmp.Diff(want, wide); diff != "" {
		t.Errorf("wide: %s", diff)
	}
	next := Of(s, nil, "next")
	want = Outlook{
		Wait:     scheduler.Schedule(s).Waiting[1],
		Position: 2, Ahead: []string{"wide"}, // nobody knows how long that takes
		Changes: []Change{{Priority: 2, Parks: []scheduler.Park{{ID: "runs", To: "next"}}}, {Pool: "b"}},
	}
	if diff := cmp.Diff(want, next); diff != "" {
		t.Errorf("next: %s", diff)
	}
	next = Of(s, map[string]scheduler.Span{"wide": {Low: time.Hour, High: 2 * time.Hour}}, "next")
	if want := (scheduler.Span{Low: 3030 * time.Second, High: 9270 * time.Second}); !next.Known || next.Begins != want { // 70 to 135 minutes
		t.Errorf("next begins in %v, want %v", next.Begins, want)
	}
	if gone := Of(s, nil, "gone"); gone.Position != 0 || gone.Known {
		t.Errorf("what does not wait: %v", gone)
	}
	fits := s
	fits.Pending = []scheduler.Request{{ID: "fits", Name: "fits", Pool: "b", Slots: 2}}
	if o := Of(fits, nil, "fits"); len(o.Now) != 2 || !o.Known || o.Begins != (scheduler.Span{}) {
		t.Errorf("what begins at once: %v", o)
	}
}

// TestForecastResizes: work that gives slots away ends later by as much, so what waits for the rest of them begins later.
func TestForecastResizes(t *testing.T) {
	s := scheduler.Snapshot{
		Nodes: []scheduler.Node{{ID: "n", Pool: "p", Slots: 4}},
		Running: []scheduler.Claim{{
			ID: "elastic", Pool: "p", Slots: 4, Gives: 2, CreatedAt: time.Unix(1, 0), Ends: exactly(time.Hour),
			At: []scheduler.Placement{{Node: "n", Slot: "0"}, {Node: "n", Slot: "1"}, {Node: "n", Slot: "2"}, {Node: "n", Slot: "3"}},
		}},
		Pending: []scheduler.Request{
			{ID: "first", Name: "first", Pool: "p", Slots: 2, Priority: 1, CreatedAt: time.Unix(2, 0)},
			{ID: "second", Name: "second", Pool: "p", Slots: 2, CreatedAt: time.Unix(3, 0)},
		},
	}
	if o := Of(s, nil, "second"); !o.Known || o.Begins != exactly(2*time.Hour) {
		t.Errorf("it is said to begin after %v (known: %t), want 2 h, when the work that was halved is done", o.Begins, o.Known)
	}
}

// TestMiddle: the odd ones do not count.
func TestMiddle(t *testing.T) {
	var minutes []time.Duration
	for i := range 20 {
		minutes = append(minutes, time.Duration(20-i)*time.Minute)
	}
	if got := Middle(minutes); got.Low != 3*time.Minute || got.High != 18*time.Minute {
		t.Errorf("the middle of 1 to 20 minutes: %v", got)
	}
	if got := Middle(minutes[:1]); got.Low != 20*time.Minute || got.High != 20*time.Minute {
		t.Errorf("the middle of one: %v", got)
	}
}
