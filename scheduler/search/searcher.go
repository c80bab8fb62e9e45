package search

import (
	"fmt"
	"math"
)

// state of a trial.
type state int

const (
	training state = iota + 1 // takes one of the MaxConcurrent places, also while it is being stopped
	waiting                   // has reached its share
	over
)

// trial is what the search knows of one.
type trial struct {
	n        int
	x        []float64
	state    state
	stopping bool // a Stop was decided
	until    float64
	level    int // index of the milestone it trains to; 0 for schedules without
	bracket  int // of hyperband
	from     int
	share    float64 // of its newest measurement
	loss     float64 // of that: smaller is better, +Inf when it never was or is not a number
	best     float64 // the smallest it ever had
	told     int     // levels the sampler was told of: the next it may be told is this
}

// move is what a schedule does with a free place: it lets trial continue or, when that is nil, makes one.
type move struct {
	continues *trial
	until     float64
	level     int
	bracket   int
	reason    string
	// For a new one: its coordinates (nil: ask the sampler), where it begins from, and who makes room for it.
	x        []float64
	from     *trial
	replaces *trial
}

// schedule decides how far each trial trains.
type schedule interface {
	// next is asked when a place is free. create: a trial may be made; idle: no trial trains.
	next(create, idle bool) (move, bool)
	// measured says why the trial must stop, for which there is a new measurement; "" when it need not.
	measured(t *trial) string
	// reached: the trial waits at its milestone.
	reached(t *trial)
	// ended: the trial is over; its state is still what it was before.
	ended(t *trial, o Outcome)
	// extended: the search had finished and goes on.
	extended()
}

// Searcher decides. It is not safe for use from several goroutines.
type Searcher struct {
	cfg       Config
	cube      *cube
	sampler   sampler
	schedule  schedule
	trials    []*trial // number n is at n-1
	training  int
	failed    int // since the last extension
	maxTrials int
	dry       string // why the sampler has no more points
	begun     bool
	exhausted string
	closing   bool // all that train were told to stop
	finished  bool
}

// New makes a searcher; the defaults of the config are filled in. The error is a *ConfigError.
func New(cfg Config) (*Searcher, error) {
	cfg = cfg.Complete()
	if wrong := cfg.Validate(); len(wrong) > 0 {
		return nil, &ConfigError{wrong}
	}
	cube, _ := cfg.Space.compile()
	s := &Searcher{cfg: cfg, cube: cube, maxTrials: cfg.MaxTrials}
	s.schedule = newSchedule(s)
	s.sampler = newSampler(cfg, cube, s.levels())
	return s, nil
}

// Step takes the next event and returns what to do, in order. Events that say nothing new, such as the end of a trial that is over, change nothing.
func (s *Searcher) Step(e Event) []Decision {
	var d []Decision
	switch {
	case e.Begun:
		s.begun = true
	case e.Measured != nil:
		d = s.measured(*e.Measured)
	case e.Ended != nil:
		s.ended(*e.Ended)
	case e.Extended != nil:
		s.extend(e.Extended.MaxTrials)
	case e.Exhausted != nil:
		s.exhausted = e.Exhausted.Reason
	}
	return append(d, s.decide()...)
}

// trial by its number; nil when it is not known.
func (s *Searcher) trial(n int) *trial {
	if n < 1 || n > len(s.trials) {
		return nil
	}
	return s.trials[n-1]
}

func (s *Searcher) measured(m Measured) []Decision {
	t := s.trial(m.Trial)
	if t == nil || t.state != training || m.Share <= t.share || !(m.Share <= 1) {
		return nil
	}
	t.share, t.loss = m.Share, s.loss(m.Value)
	t.best = min(t.best, t.loss)
	if t.stopping {
		return nil
	}
	reason := s.schedule.measured(t)
	if reason == "" {
		return nil
	}
	t.stopping = true
	return []Decision{{Stop: &Stop{t.n}, Reason: reason}}
}

// loss of a value of the metric: smaller is better, and what is not a number is the worst.
func (s *Searcher) loss(v float64) float64 {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return math.Inf(1)
	case s.cfg.Mode == Max:
		return -v
	}
	return v
}

// value is the metric of a loss.
func (s *Searcher) value(loss float64) float64 {
	if s.cfg.Mode == Max {
		return -loss
	}
	return loss
}

func (s *Searcher) ended(e Ended) {
	t := s.trial(e.Trial)
	if t == nil || t.state == over || t.state == waiting && e.Outcome == Reached {
		return
	}
	o := e.Outcome
	if o == Reached && t.stopping {
		o = Stopped
	} else if o == Reached && t.until >= 1 {
		o = Completed
	}
	if o == Failed {
		s.failed++
	}
	if t.state == training {
		s.training--
		if o == Failed || o == Diverged {
			t.loss = math.Inf(1)
		}
		s.tell(t, t.level)
	}
	if o == Reached {
		t.state = waiting
		s.schedule.reached(t)
		return
	}
	s.schedule.ended(t, o)
	t.state = over
}

// tell the sampler what is known of a trial at a level, once.
func (s *Searcher) tell(t *trial, level int) {
	if level < t.told {
		return
	}
	t.told = level + 1
	s.sampler.tell(t.n, t.x, level, t.loss)
}

func (s *Searcher) extend(maxTrials int) {
	s.maxTrials = min(maxTrials, mostTrials)
	s.failed, s.exhausted, s.closing = 0, "", false
	if s.finished {
		s.finished = false
		s.schedule.extended()
	}
}

// decide fills the free places, or says that the search is over.
func (s *Searcher) decide() []Decision {
	if !s.begun || s.finished {
		return nil
	}
	var d []Decision
	reason, failed := s.exhausted, s.failed > s.cfg.MaxFailed
	if failed {
		reason = fmt.Sprintf("%d trials failed, and %d may: look at their logs", s.failed, s.cfg.MaxFailed)
	}
	if reason != "" {
		d = s.close(reason)
	} else {
		d = s.fill()
		reason = s.done()
	}
	if s.training == 0 {
		s.finished = true
		d = append(d, Decision{Finish: true, Failed: failed, Reason: reason})
	}
	return d
}

// done says why there is nothing more to do.
func (s *Searcher) done() string {
	if len(s.trials) < s.maxTrials && s.dry != "" {
		return fmt.Sprintf("%s: %d trials were made", s.dry, len(s.trials))
	}
	return fmt.Sprintf("all %d trials were made, and none trains or is to go on", len(s.trials))
}

// close stops all that trains.
func (s *Searcher) close(reason string) []Decision {
	if s.closing {
		return nil
	}
	s.closing = true
	var d []Decision
	for _, t := range s.trials {
		if t.state == training && !t.stopping {
			t.stopping = true
			d = append(d, Decision{Stop: &Stop{t.n}, Reason: reason})
		}
	}
	return d
}

func (s *Searcher) fill() []Decision {
	var d []Decision
	for s.training < s.cfg.MaxConcurrent {
		create := len(s.trials) < s.maxTrials && s.dry == ""
		m, ok := s.schedule.next(create, s.training == 0)
		if !ok {
			break
		}
		if t := m.continues; t != nil {
			t.state, t.until, t.level = training, m.until, m.level
			s.training++
			d = append(d, Decision{Continue: &Continue{t.n, m.until}, Reason: m.reason})
			continue
		}
		d = append(d, s.create(m)...)
	}
	return d
}

// create makes a trial, unless the sampler has no more points.
func (s *Searcher) create(m move) []Decision {
	n := len(s.trials) + 1
	t := &trial{n: n, x: m.x, state: training, until: m.until, level: m.level, bracket: m.bracket, loss: math.Inf(1), best: math.Inf(1)}
	reason := m.reason
	if t.x == nil {
		x, why, ok := s.sampler.propose(n)
		if !ok {
			s.dry = why
			return nil
		}
		t.x, reason = x, join(why, reason)
	}
	var d []Decision
	if m.from != nil {
		t.from = m.from.n
	}
	if r := m.replaces; r != nil {
		r.stopping = true
		d = append(d, Decision{Stop: &Stop{r.n}, Reason: m.reason})
	}
	s.trials = append(s.trials, t)
	s.training++
	return append(d, Decision{Create: &Create{Trial: n, Point: s.cube.point(t.x), Until: m.until, From: t.from}, Reason: reason})
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}

// percent of the training, for reasons.
func percent(share float64) string { return fmt.Sprintf("%.3g %% of the training", 100*share) }

func trainsTo(share float64) string {
	if share >= 1 {
		return "trains to the end"
	}
	return "trains to " + percent(share)
}
