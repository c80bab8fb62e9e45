package search

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// configs draws a config that is right.
func configs(t *rapid.T) Config {
	m := Method{Name: rapid.SampledFrom(methods).Draw(t, "method")}
	if m.sampled() {
		m.Sampler = rapid.SampledFrom(samplers).Draw(t, "sampler")
	}
	if m.stoppable() {
		m.Stop = rapid.SampledFrom(stops).Draw(t, "stop")
	}
	if m.laddered() {
		m.Divisor, m.Rungs = rapid.IntRange(2, 4).Draw(t, "divisor"), rapid.IntRange(1, 4).Draw(t, "rungs")
	}
	if m.Name == ASHA {
		m.Variant = rapid.SampledFrom(variants).Draw(t, "variant")
	}
	if m.starting() {
		m.StartupTrials = rapid.IntRange(1, 4).Draw(t, "startup")
	}
	if m.Name == PBT {
		m.Population, m.Intervals, m.Quantile = rapid.IntRange(2, 6).Draw(t, "population"), rapid.IntRange(2, 4).Draw(t, "intervals"), 0.5
	}
	return Config{
		Space: nested(), Method: m, Mode: rapid.SampledFrom([]Mode{Min, Max}).Draw(t, "mode"), Seed: rapid.Int64Range(0, 9).Draw(t, "seed"),
		MaxTrials: rapid.IntRange(1, 12).Draw(t, "trials"), MaxConcurrent: rapid.IntRange(1, 5).Draw(t, "concurrent"), MaxFailed: rapid.IntRange(1, 4).Draw(t, "failed"),
	}
}

// fate is a trial as the chaos sees it.
type fate struct {
	until    float64
	share    float64
	stopping bool
	state    state
	seen     float64 // share of its newest measurement
	value    float64 // of that
	best     float64 // of all; smaller is better
	whole    bool    // it trained to the end
}

// chaos is a driver under which anything happens in any order; it holds the searcher to what doc.go promises.
type chaos struct {
	t        *rapid.T
	cfg      Config
	search   *Searcher
	events   []Event
	made     [][]Decision
	fates    []*fate
	finished bool
	most     int // trials that may be made
	failed   int
	closed   bool // a limit was reached
}

// TestAnyOrder: whatever happens in whatever order, the search keeps its limits, tells its sampler of every trial, and comes to an end; and it can be
// rebuilt from its events at any time.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &chaos{t: t, cfg: configs(t)}
		c.most = c.cfg.MaxTrials
		c.search = c.rebuilt()
		told := &teller{sampler: c.search.sampler, told: map[int]int{}}
		c.search.sampler = told
		c.step(Event{Begun: true})
		for n := 0; !c.finished; n++ {
			if n > 2000 {
				t.Fatalf("it does not come to an end")
			}
			c.step(c.event())
		}
		for i, f := range c.fates {
			if f.state == training {
				t.Fatalf("trial %d trains after the end", i+1)
			}
			if told.told[i+1] == 0 {
				t.Fatalf("the sampler was not told of trial %d", i+1)
			}
		}
		c.won()
		if again := rapid.IntRange(0, 3).Draw(t, "more"); again > 0 && !c.closed {
			c.most += again
			c.finished = false
			c.failed = 0
			was := len(c.fates)
			c.step(Event{Extended: &Extended{c.most}})
			if len(c.fates) == was && c.cfg.Method.Name != Grid {
				t.Fatalf("it was extended by %d trials and made none", again)
			}
		}
	})
}

// won: unless a limit was reached, nobody waits who could go on, was not trained to the end and is better than all that were.
func (c *chaos) won() {
	if c.closed || c.failed > c.cfg.MaxFailed {
		return
	}
	whole := entry{math.Inf(1), len(c.fates) + 1}
	for i, f := range c.fates {
		if e := (entry{f.best, i + 1}); f.whole && e.before(whole) < 0 {
			whole = e
		}
	}
	for i, f := range c.fates {
		if e := (entry{f.best, i + 1}); f.state == waiting && !worst(f.value) && e.before(whole) < 0 {
			c.t.Fatalf("trial %d waits with %v at %v of the training; the best that trained to the end is %+v", i+1, f.best, f.share, whole)
		}
	}
}

// rebuilt is a new searcher that has been told all so far.
func (c *chaos) rebuilt() *Searcher {
	s, err := New(c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, e := range c.events {
		if diff := cmp.Diff(c.made[i], s.Step(e)); diff != "" {
			c.t.Fatalf("rebuilt, it decides otherwise at event %d (-first +rebuilt):\n%s", i, diff)
		}
	}
	return s
}

// event draws what happens next.
func (c *chaos) event() Event {
	t := c.t
	var train, wait []int
	for i, f := range c.fates {
		switch f.state {
		case training:
			train = append(train, i+1)
		case waiting:
			wait = append(wait, i+1)
		}
	}
	if len(train) == 0 {
		t.Fatalf("nothing trains, and it is not over")
	}
	n := rapid.SampledFrom(train).Draw(t, "trial")
	f := c.fates[n-1]
	switch what := rapid.IntRange(0, 40).Draw(t, "what"); {
	case what < 14:
		value := rapid.Float64Range(-1, 1).Draw(t, "value")
		if what == 0 {
			value = rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "not a number")
		}
		more := rapid.Float64Range(0, 0.3).Draw(t, "more")
		f.share = min(f.until, f.share+more)
		if f.share > f.seen {
			f.seen, f.value = f.share, c.search.loss(value)
			f.best = min(f.best, f.value)
		}
		return Event{Measured: &Measured{n, f.share, value}}
	case what == 14:
		c.failed++
		return c.end(n, Failed)
	case what == 15:
		return c.end(n, Diverged)
	case what == 16:
		return c.end(n, Stopped)
	case what == 17 && len(wait) > 0:
		n := rapid.SampledFrom(wait).Draw(t, "waiting")
		return c.end(n, Stopped)
	case what == 18: // said twice, late, or of nobody
		return rapid.SampledFrom([]Event{{Begun: true}, {Ended: &Ended{len(c.fates) + 1, Failed}}, {Measured: &Measured{0, 1, 1}}, {Measured: &Measured{n, 0, 0}}}).Draw(t, "noise")
	case what == 19 && len(wait) > 0:
		return Event{Ended: &Ended{wait[0], Reached}}
	case what == 20 && rapid.IntRange(0, 9).Draw(t, "exhausted") == 0:
		c.closed = true
		return Event{Exhausted: &Exhausted{"hours of slots are used up"}}
	}
	switch {
	case f.stopping:
		return c.end(n, rapid.SampledFrom([]Outcome{Stopped, Stopped, Completed, Reached}).Draw(t, "outcome"))
	case f.until < 1:
		f.share = f.until
		return c.end(n, Reached)
	}
	return c.end(n, Completed)
}

func (c *chaos) end(n int, o Outcome) Event {
	f := c.fates[n-1]
	f.whole = f.whole || (o == Completed || o == Reached && f.until >= 1) && !f.stopping
	if f.state = over; o == Reached && !f.stopping {
		f.state = waiting
	}
	return Event{Ended: &Ended{n, o}}
}

// step tells the searcher and its rebuilt twin, and checks what they decide.
func (c *chaos) step(e Event) {
	twin := c.rebuilt()
	made := c.search.Step(e)
	if diff := cmp.Diff(made, twin.Step(e)); diff != "" {
		c.t.Fatalf("rebuilt, it decides otherwise (-first +rebuilt):\n%s", diff)
	}
	c.events, c.made = append(c.events, e), append(c.made, made)
	for _, d := range made {
		c.check(d)
	}
	train := 0
	for _, f := range c.fates {
		if f.state == training {
			train++
		}
	}
	if train > c.cfg.MaxConcurrent {
		c.t.Fatalf("%d train at the same time", train)
	}
	if len(c.fates) > c.most {
		c.t.Fatalf("%d trials were made", len(c.fates))
	}
}

func (c *chaos) check(d Decision) {
	if d.Reason == "" || c.finished {
		c.t.Fatalf("decided %+v, finished %t", d, c.finished)
	}
	switch {
	case d.Create != nil:
		if d.Create.Trial != len(c.fates)+1 || !(d.Create.Until > 0 && d.Create.Until <= 1) || c.closed {
			c.t.Fatalf("made %+v after %d", d.Create, len(c.fates))
		}
		if _, err := c.search.cube.at(d.Create.Point); err != nil {
			c.t.Fatal(err)
		}
		f := &fate{until: d.Create.Until, state: training, value: math.Inf(1), best: math.Inf(1)}
		if from := d.Create.From; from > 0 {
			f.share = c.fates[from-1].share
			if c.fates[from-1].state == over || f.share > f.until {
				c.t.Fatalf("%+v begins from %+v", d.Create, c.fates[from-1])
			}
		}
		c.fates = append(c.fates, f)
	case d.Continue != nil:
		f := c.fates[d.Continue.Trial-1]
		if f.state != waiting || f.stopping || d.Continue.Until <= f.until || d.Continue.Until > 1 || c.closed {
			c.t.Fatalf("%+v cannot go on: %+v", f, d.Continue)
		}
		f.state, f.until = training, d.Continue.Until
	case d.Stop != nil:
		f := c.fates[d.Stop.Trial-1]
		if f.state == over || f.stopping {
			c.t.Fatalf("%+v is stopped again", f)
		}
		f.stopping = true
		if f.state == waiting {
			f.state = over
		}
	case d.Finish:
		c.finished = true
	}
}

// teller counts how often a sampler is told of each trial.
type teller struct {
	sampler
	told map[int]int
}

func (s *teller) tell(n int, x []float64, level int, loss float64) {
	if math.IsNaN(loss) || math.IsInf(loss, -1) {
		panic(fmt.Sprint("told ", loss))
	}
	s.told[n]++
	s.sampler.tell(n, x, level, loss)
}

// TestSeeds: another seed is another search, the same is the same.
func TestSeeds(t *testing.T) {
	for _, m := range methods {
		if m == Grid {
			continue
		}
		made := func(seed int64) []Decision {
			cfg := Config{Space: nested(), Method: Method{Name: m}, Seed: seed, MaxTrials: 15}
			return newWorld(t, cfg, func(_ int, p Point, share float64) float64 { return p["a.lr"].(float64) - share }).run(t).made
		}
		if !cmp.Equal(made(1), made(1)) {
			t.Errorf("%s: the same seed decides otherwise", m)
		}
		if cmp.Equal(made(1), made(2)) {
			t.Errorf("%s: another seed decides the same", m)
		}
	}
}

// TestPaperASHA plays ASHA beside algorithm 2 of its paper, written down as slowly and obviously as it stands there.
func TestPaperASHA(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		divisor, rungs := rapid.IntRange(2, 4).Draw(t, "divisor"), rapid.IntRange(2, 4).Draw(t, "rungs")
		s, err := New(Config{Space: Space{"x": {Double: []float64{0, 1}}}, Method: Method{Name: ASHA, Divisor: divisor, Rungs: rungs}, MaxTrials: 1000, MaxConcurrent: rapid.IntRange(1, 4).Draw(t, "workers")})
		if err != nil {
			t.Fatal(err)
		}
		p := paper{divisor: divisor, results: make([][]entry, rungs), promoted: make([][]int, rungs)}
		type job struct{ trial, rung int }
		var jobs []job
		decisions := s.Step(Event{Begun: true})
		for range rapid.IntRange(1, 150).Draw(t, "results") {
			for _, d := range decisions {
				trial, rung := p.next()
				milestone := math.Pow(float64(divisor), float64(rung-rungs+1))
				switch {
				case d.Create != nil && (trial != 0 || math.Abs(d.Create.Until-milestone) > 1e-12):
					t.Fatalf("%+v (%s), but the paper promotes %d to rung %d", d.Create, d.Reason, trial, rung)
				case d.Continue != nil && (trial != d.Continue.Trial || math.Abs(d.Continue.Until-milestone) > 1e-12):
					t.Fatalf("%+v (%s), but the paper promotes %d to rung %d", d.Continue, d.Reason, trial, rung)
				case d.Create != nil:
					trial = d.Create.Trial
				}
				jobs = append(jobs, job{trial, rung})
			}
			at := rapid.IntRange(0, len(jobs)-1).Draw(t, "job")
			j := jobs[at]
			jobs = slices.Delete(jobs, at, at+1)
			loss := float64(rapid.IntRange(0, 20).Draw(t, "loss"))
			p.results[j.rung] = append(p.results[j.rung], entry{loss, j.trial})
			s.Step(Event{Measured: &Measured{j.trial, math.Pow(float64(divisor), float64(j.rung-rungs+1)), loss}})
			o := Reached
			if j.rung == rungs-1 {
				o = Completed
			}
			decisions = s.Step(Event{Ended: &Ended{j.trial, o}})
		}
	})
}

// paper is algorithm 2 of Li et al.: get_job() for a worker that is free.
type paper struct {
	divisor  int
	results  [][]entry
	promoted [][]int
}

func (p *paper) next() (trial, rung int) {
	for k := len(p.results) - 2; k >= 0; k-- {
		candidates := slices.Clone(p.results[k])
		slices.SortFunc(candidates, entry.before)
		for _, c := range candidates[:len(candidates)/p.divisor] {
			if !slices.Contains(p.promoted[k], c.trial) {
				p.promoted[k] = append(p.promoted[k], c.trial)
				return c.trial, k + 1
			}
		}
	}
	return 0, 0
}
