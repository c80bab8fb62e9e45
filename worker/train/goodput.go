package train

import (
	"time"

	"tandem.dev/storage/metric"
)

// StepTimes is one optimizer step as it was measured on this rank. What is left between Begin
// and End when all parts are taken off belongs to the step too.
type StepTimes struct {
	Step       int64 // number of the step, from 1
	Begin, End time.Time

	Data, Forward, Backward, Communication, Optimizer time.Duration // in this order

	LossSum, Norm float64 // as in StepResult
	LR            float64 // learning rate
}

// parts fit the step between Begin and End, whatever clocks they were measured with.
func (s StepTimes) parts() (t metric.Times) {
	left := max(0, s.End.Sub(s.Begin))
	for _, p := range []struct {
		of   metric.Category
		took time.Duration
	}{
		{metric.Data, s.Data}, {metric.Forward, s.Forward}, {metric.Backward, s.Backward},
		{metric.Communication, s.Communication}, {metric.Optimizer, s.Optimizer},
	} {
		t[p.of] = min(max(0, p.took), left)
		left -= t[p.of]
	}
	t[metric.Other] = left
	return t
}

// ledger gives each instant of an engine's life to exactly one category. It has no clock of
// its own; a time that is before the last one counts as the last one.
type ledger struct {
	in    metric.Category // what the engine does
	mark  time.Time       // up to here all time is given
	since time.Time       // from here it is in times
	times metric.Times
}

func newLedger(in metric.Category, now time.Time) ledger {
	return ledger{in: in, mark: now, since: now}
}

// spend gives the time up to now to a category.
func (l *ledger) spend(of metric.Category, now time.Time) {
	if d := now.Sub(l.mark); d > 0 {
		l.times[of] += d
		l.mark = now
	}
}

// enter says what the engine does from now on.
func (l *ledger) enter(in metric.Category, now time.Time) {
	l.spend(l.in, now)
	l.in = in
}

// step takes the parts of a step. What comes after it is still of that step until something
// else is said.
func (l *ledger) step(s StepTimes) metric.Times {
	l.enter(metric.Other, s.Begin)
	if late := l.mark.Sub(s.Begin); late > 0 { // the beginning, a wait for data, was given already
		s.Begin, s.Data = l.mark, s.Data-late
	}
	parts := s.parts()
	l.times.Add(parts)
	l.mark = l.mark.Add(parts.Total())
	return parts
}

// cut returns the times since the last cut and where they begin.
func (l *ledger) cut() (from time.Time, times metric.Times) {
	from, times = l.since, l.times
	l.since, l.times = l.mark, metric.Times{}
	return from, times
}
