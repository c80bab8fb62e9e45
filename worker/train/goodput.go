package train

import (
	"slices"
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

// spend gives the time until now to a category.
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

// broken takes a step that another rank was lost in, which is to be done again. Of the time after the wait for its batch, no more
// is work than a step usually takes (0: that is not known), and none that this rank is known to have waited for the others: in
// the rest it waited for one that does not answer.
func (l *ledger) broken(s StepTimes, usual, waited time.Duration) {
	l.enter(metric.Other, s.Begin)
	l.spend(metric.Data, s.Begin.Add(min(s.Data, s.End.Sub(s.Begin))))
	work := max(0, s.End.Sub(l.mark)-waited)
	if usual > 0 {
		work = min(work, usual)
	}
	l.spend(metric.Lost, l.mark.Add(work))
	l.spend(metric.Waiting, s.End)
}

// stranded takes a collective beside the steps, from a time on, that another rank was lost in. All of it is waiting; an
// evaluation that it was the end of is done again.
func (l *ledger) stranded(from, now time.Time) {
	was := l.in
	if was == metric.Evaluate {
		was = metric.Lost
	}
	l.spend(was, from)
	l.spend(metric.Waiting, now)
}

// cut returns the times since the last cut and where they begin.
func (l *ledger) cut() (from time.Time, times metric.Times) {
	from, times = l.since, l.times
	l.since, l.times = l.mark, metric.Times{}
	return from, times
}

// lately is how long the last steps took, without the wait for their batches.
type lately struct {
	took  [15]time.Duration
	steps int
}

func (u *lately) add(parts metric.Times) {
	u.took[u.steps%len(u.took)] = parts.Total() - parts[metric.Data]
	u.steps++
}

// median is 0 when there were none.
func (u *lately) median() time.Duration {
	if u.steps == 0 {
		return 0
	}
	took := slices.Sorted(slices.Values(u.took[:min(u.steps, len(u.took))]))
	return took[len(took)/2]
}
