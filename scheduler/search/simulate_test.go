package search

import (
	"container/heap"
	"math"
	"testing"
)

// world plays the part of the driver: it trains what the searcher decides, in virtual time, one unit of time for a whole training.
type world struct {
	search *Searcher
	// value is the metric of a point at a share.
	value func(trial int, p Point, share float64) float64
	// outcome of a stint that began; "" for Reached or Completed.
	outcome func(trial int, from, until float64) Outcome
	// evaluations of a whole training.
	evaluations int

	queue   queue
	now     float64
	trials  map[int]*simulated
	log     []Event
	made    []Decision
	best    float64
	cost    float64
	finish  string
	most    int // that trained at the same time
	current int
}

type simulated struct {
	point   Point
	share   float64
	until   float64
	stopped bool
	over    bool
	trains  bool
}

type due struct {
	at    float64
	order int
	trial int
	share float64
	end   bool
}

type queue []due

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(due)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func newWorld(t testing.TB, cfg Config, value func(trial int, p Point, share float64) float64) *world {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{search: s, value: value, evaluations: 27, trials: map[int]*simulated{}, best: math.Inf(1)}
}

// run until the search finishes.
func (w *world) run(t testing.TB) *world {
	t.Helper()
	w.tell(t, Event{Begun: true})
	w.drain(t)
	if w.finish == "" {
		t.Fatalf("nothing trains and the search has not finished, after %d events", len(w.log))
	}
	return w
}

func (w *world) drain(t testing.TB) {
	for w.queue.Len() > 0 {
		d := heap.Pop(&w.queue).(due)
		sim := w.trials[d.trial]
		if sim.over || !sim.trains {
			continue
		}
		w.now = d.at
		if !sim.stopped {
			w.cost += d.share - sim.share
			sim.share = d.share
		}
		switch {
		case d.end:
			w.end(t, d.trial, sim)
		case !sim.stopped:
			v := w.value(d.trial, sim.point, d.share)
			if !math.IsNaN(v) {
				w.best = min(w.best, v)
			}
			w.tell(t, Event{Measured: &Measured{d.trial, d.share, v}})
		}
	}
}

func (w *world) end(t testing.TB, n int, sim *simulated) {
	o := Reached
	switch {
	case sim.stopped:
		o = Stopped
	case sim.until >= 1:
		o = Completed
	}
	if w.outcome != nil {
		if other := w.outcome(n, sim.share, sim.until); other != "" && o != Stopped {
			o = other
		}
	}
	sim.trains = false
	sim.over = o != Reached
	w.current--
	w.tell(t, Event{Ended: &Ended{n, o}})
}

func (w *world) tell(t testing.TB, e Event) {
	w.log = append(w.log, e)
	for _, d := range w.search.Step(e) {
		w.carryOut(t, d)
	}
	w.most = max(w.most, w.current)
}

func (w *world) carryOut(t testing.TB, d Decision) {
	w.made = append(w.made, d)
	switch {
	case d.Create != nil:
		c := d.Create
		if c.Trial != len(w.trials)+1 {
			t.Fatalf("trial %d is made after %d", c.Trial, len(w.trials))
		}
		sim := &simulated{point: c.Point}
		if c.From != 0 {
			sim.share = w.trials[c.From].share
		}
		w.trials[c.Trial] = sim
		w.begin(t, c.Trial, c.Until)
	case d.Continue != nil:
		sim := w.trials[d.Continue.Trial]
		if sim == nil || sim.over || sim.trains || d.Continue.Until <= sim.until {
			t.Fatalf("trial %d cannot go on to %v: %+v", d.Continue.Trial, d.Continue.Until, sim)
		}
		w.begin(t, d.Continue.Trial, d.Continue.Until)
	case d.Stop != nil:
		sim := w.trials[d.Stop.Trial]
		if sim.over || sim.stopped {
			t.Fatalf("trial %d is stopped again", d.Stop.Trial)
		}
		sim.stopped = true
		if !sim.trains {
			sim.over = true
			w.push(due{at: w.now, trial: d.Stop.Trial, share: sim.share, end: true})
			return
		}
		w.push(due{at: w.now, trial: d.Stop.Trial, share: sim.share, end: true})
	case d.Finish:
		if w.current != 0 {
			t.Fatalf("finished while %d train", w.current)
		}
		w.finish = d.Reason
	}
	if d.Reason == "" {
		t.Fatalf("%+v has no reason", d)
	}
}

// begin a stint: measurements on the way, and at its end.
func (w *world) begin(t testing.TB, n int, until float64) {
	sim := w.trials[n]
	sim.until, sim.trains = until, true
	w.current++
	for i := 1; i <= w.evaluations; i++ {
		share := float64(i) / float64(w.evaluations)
		if share > sim.share+1e-9 && share < until-1e-9 {
			w.push(due{at: w.now + share - sim.share, trial: n, share: share})
		}
	}
	w.push(due{at: w.now + until - sim.share, trial: n, share: until})
	w.push(due{at: w.now + until - sim.share, trial: n, share: until, end: true})
}

func (w *world) push(d due) {
	d.order = len(w.log)*1000 + len(w.queue)
	heap.Push(&w.queue, d)
}
