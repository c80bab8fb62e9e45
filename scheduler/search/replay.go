package search

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
)

// Sample is the metric of a trial when a share of its training is done.
type Sample struct{ Share, Value float64 }

// Curve is what was recorded of a trial: its point and the samples in order of share. The last may be short of the whole training.
type Curve struct {
	Trial   int
	Point   Point
	Samples []Sample
}

// Result of a simulated search. Shares are in whole trainings.
type Result struct {
	// Trained is what all trials together have trained, Recorded what they had trained when they were recorded.
	Trained, Recorded float64
	// Time is how long it took, where a whole training takes 1.
	Time float64
	// Best is the trial with the best value and that value; trial 0: nothing was measured.
	Best Best
	// BestRecorded is the best of all curves.
	BestRecorded Best
	// Missed: the best that was recorded was not found.
	Missed bool
	// Stopped are the trials that trained less than was recorded, Unknown those that were to train beyond it: nobody knows what they would have become.
	Stopped, Unknown []int
	// Course is each improvement, in order.
	Course []Improvement
}

// Best is a trial and its value.
type Best struct {
	Trial int
	Value float64
}

// Improvement is a new best value, and what had been trained when it was found.
type Improvement struct{ Trained, Time, Value float64 }

// Replay decides again on recorded curves: the trials of the new search are the recorded ones in order, whatever its method would have drawn, on so
// many slots. It costs nothing and says what the method would have saved or missed.
func Replay(cfg Config, curves []Curve, slots int) (Result, error) {
	cfg.MaxTrials, cfg.MaxConcurrent = len(curves), slots
	cfg.MaxFailed = max(1, len(curves))
	s, err := New(cfg)
	if err != nil {
		return Result{}, err
	}
	if s.cfg.Method.Name == PBT {
		return Result{}, errors.New("pbt cannot be decided again: its trials begin from others, which were not recorded")
	}
	recorded := &recording{cube: s.cube}
	for _, c := range curves {
		x, err := s.cube.at(c.Point)
		if err != nil {
			return Result{}, fmt.Errorf("trial %d: %w", c.Trial, err)
		}
		recorded.points = append(recorded.points, x)
	}
	s.sampler = recorded
	r := simulate(s, math.Inf(1), func(c Create) []Sample { return curves[c.Trial-1].Samples })
	for i, c := range curves {
		if n := len(c.Samples); n > 0 {
			r.Recorded += c.Samples[n-1].Share
		}
		for _, v := range c.Samples {
			r.BestRecorded = better(s, r.BestRecorded, Best{i + 1, v.Value})
		}
	}
	r.Missed = r.Best != r.BestRecorded
	name := func(list []int) {
		for i, n := range list {
			list[i] = curves[n-1].Trial
		}
	}
	name(r.Stopped)
	name(r.Unknown)
	for _, b := range []*Best{&r.Best, &r.BestRecorded} {
		if b.Trial > 0 {
			b.Trial = curves[b.Trial-1].Trial
		}
	}
	return r, nil
}

// recording proposes what was recorded.
type recording struct {
	cube   *cube
	points [][]float64
}

func (r *recording) propose(n int) ([]float64, string, bool) {
	if n > len(r.points) {
		return nil, "no more trials were recorded", false
	}
	return r.points[n-1], fmt.Sprintf("number %d of the recorded trials", n), true
}

func (*recording) tell(int, []float64, int, float64) {}

// Simulate runs a search in virtual time on curves that train gives, complete ones, until it finishes or so much was trained.
func Simulate(cfg Config, budget float64, train func(Create) []Sample) (Result, error) {
	s, err := New(cfg)
	if err != nil {
		return Result{}, err
	}
	return simulate(s, budget, train), nil
}

// better of two; trial 0 is none.
func better(s *Searcher, a, b Best) Best {
	if !worst(s.loss(b.Value)) && (a.Trial == 0 || s.loss(b.Value) < s.loss(a.Value)) {
		return b
	}
	return a
}

// simulation is a cluster where training takes its time and nothing else does.
type simulation struct {
	search *Searcher
	budget float64
	train  func(Create) []Sample
	trials []*replayed
	queue  agenda
	made   int
	result Result
}

// replayed is a trial: it has trained to share, and samples[next] is the next that comes.
type replayed struct {
	n     int
	curve []Sample
	next  int
	share float64
	until float64
	begun float64 // time minus share: when it would have begun
	stint int
}

func simulate(s *Searcher, budget float64, train func(Create) []Sample) Result {
	sim := &simulation{search: s, budget: budget, train: train}
	sim.tell(Event{Begun: true})
	for sim.queue.Len() > 0 && sim.result.Trained < budget {
		a := heap.Pop(&sim.queue).(appointment)
		if t := sim.trials[a.trial-1]; t.stint == a.stint {
			sim.result.Time = a.time
			sim.advance(t)
		}
	}
	for _, t := range sim.trials {
		if n := len(t.curve); n > 0 && t.share < t.curve[n-1].Share {
			sim.result.Stopped = append(sim.result.Stopped, t.n)
		}
	}
	return sim.result
}

// advance a trial to its next sample or to its end.
func (s *simulation) advance(t *replayed) {
	if t.next < len(t.curve) && t.curve[t.next].Share <= t.until+1e-9 {
		sample := t.curve[t.next]
		t.next++
		s.result.Trained += sample.Share - t.share
		t.share = sample.Share
		if s.result.Trained > s.budget {
			return
		}
		was := s.result.Best
		if s.result.Best = better(s.search, was, Best{t.n, sample.Value}); s.result.Best != was {
			s.result.Course = append(s.result.Course, Improvement{s.result.Trained, s.result.Time, sample.Value})
		}
		stint := t.stint
		s.tell(Event{Measured: &Measured{t.n, sample.Share, sample.Value}})
		if t.stint == stint {
			s.schedule(t)
		}
		return
	}
	o := Reached
	switch {
	case t.until >= 1 && t.share >= 1-1e-9:
		o = Completed
	case t.next == len(t.curve) && t.share < t.until-1e-9:
		o = Stopped
		s.result.Unknown = append(s.result.Unknown, t.n)
	default:
		s.result.Trained += t.until - t.share
		t.share = t.until
	}
	t.stint++
	s.tell(Event{Ended: &Ended{t.n, o}})
}

// schedule the next appointment of a trial.
func (s *simulation) schedule(t *replayed) {
	share := t.share // no more was recorded
	if t.next < len(t.curve) {
		share = min(t.until, t.curve[t.next].Share)
	}
	s.made++
	heap.Push(&s.queue, appointment{t.begun + share, s.made, t.n, t.stint})
}

// tell the search, and carry out what it decides; what that leads to is told next.
func (s *simulation) tell(e Event) {
	for events := []Event{e}; len(events) > 0; events = events[1:] {
		for _, d := range s.search.Step(events[0]) {
			switch {
			case d.Create != nil:
				s.create(*d.Create)
			case d.Continue != nil:
				t := s.trials[d.Continue.Trial-1]
				t.until = d.Continue.Until
				s.begin(t)
			case d.Stop != nil:
				t := s.trials[d.Stop.Trial-1]
				t.stint++
				events = append(events, Event{Ended: &Ended{t.n, Stopped}})
			}
		}
	}
}

func (s *simulation) create(c Create) {
	t := &replayed{n: c.Trial, curve: s.train(c), until: c.Until}
	if c.From > 0 {
		t.share = s.trials[c.From-1].share
		for t.next < len(t.curve) && t.curve[t.next].Share <= t.share+1e-9 {
			t.next++
		}
	}
	s.trials = append(s.trials, t)
	s.begin(t)
}

func (s *simulation) begin(t *replayed) {
	t.stint++
	t.begun = s.result.Time - t.share
	s.schedule(t)
}

// appointment is when a trial has its next sample or its end.
type appointment struct {
	time         float64
	order, trial int
	stint        int
}

// agenda is a heap of them.
type agenda []appointment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].time < a[j].time || a[i].time == a[j].time && a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
