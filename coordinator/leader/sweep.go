package leader

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

const (
	// A command carries the decisions of whole events, no more of them once there are so many.
	decisionBatch = 200
	// Events that are read from the state at once.
	eventBatch = 1000
)

// Search feeds the searches of sweeps what happened, and proposes what they decide.
func Search(s *state.State, p Proposer, log zerolog.Logger) Loop {
	const name = "search"
	return Loop{name, func(ctx context.Context) error {
		l := &searchLoop{s: s, p: p, log: log, name: name, drivers: map[string]*Driver{}}
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			var next time.Time
			for _, sw := range v.Sweeps() {
				again, err := l.pass(ctx, v, sw, now)
				if err != nil {
					return next, err
				}
				if !again.IsZero() && (next.IsZero() || again.Before(next)) {
					next = again
				}
			}
			return next, nil
		})
	}}
}

type searchLoop struct {
	s       *state.State
	p       Proposer
	log     zerolog.Logger
	name    string
	drivers map[string]*Driver // by sweep; what does not exist is made anew from the events
}

// pass brings one sweep up to date. It returns when to look at it again if nothing happens.
func (l *searchLoop) pass(ctx context.Context, v *state.View, sw *tandemv1.Sweep, now time.Time) (time.Time, error) {
	job, _ := v.Job(sw.GetId())
	if state.JobFinal(job.GetState()) {
		delete(l.drivers, sw.GetId())
		return time.Time{}, nil
	}
	limit, again := Limit(v, job, sw, now)
	if limit != nil {
		cmd := &tandemv1.Command{Command: &tandemv1.Command_ExhaustSweep{ExhaustSweep: &tandemv1.ExhaustSweep{SweepId: sw.GetId(), Why: limit}}}
		if _, err := l.propose(ctx, sw.GetId(), cmd); err != nil {
			return again, err
		}
	}
	for ctx.Err() == nil {
		v := l.s.View()
		sw, _ := v.Sweep(sw.GetId())
		job, _ = v.Job(sw.GetId())
		runs := job.GetIntent() == tandemv1.JobIntent_JOB_INTENT_RUN && !state.JobFinal(job.GetState())
		if !runs || state.WaitsForJobs(job) != nil {
			break
		}
		c, err := l.decide(v, job, sw)
		if err != nil || c == nil {
			if err != nil {
				l.log.Error().Err(err).Str("job", job.GetId()).Msg("a search cannot go on; cancel the sweep")
			}
			break
		}
		ok, err := l.propose(ctx, sw.GetId(), &tandemv1.Command{Command: &tandemv1.Command_DecideSweep{DecideSweep: c}})
		if err != nil {
			return again, err
		}
		if ok {
			l.drivers[sw.GetId()].decided = c.GetThrough()
			l.log.Debug().Str("job", job.GetId()).Int64("seq", c.GetThrough()).Int("decisions", len(c.GetDecisions())).Msg("search decided")
		}
	}
	return again, nil
}

// propose proposes a command about a sweep; false when it was refused, so that its search must be made anew.
func (l *searchLoop) propose(ctx context.Context, sweepID string, cmd *tandemv1.Command) (bool, error) {
	res, err := propose(ctx, l.p, l.name, cmd)
	if err != nil {
		return false, err
	}
	if anyRefused(res) {
		l.log.Warn().Str("job", sweepID).Str("refused", say.Reason(res.GetWhy(), say.Plain)).Msg("a decision of a search was refused")
		delete(l.drivers, sweepID)
		sleep(ctx, time.Second)
	}
	return !anyRefused(res), awaitApplied(ctx, l.s, res)
}

// decide is what to propose about a sweep; nil for nothing.
func (l *searchLoop) decide(v *state.View, job *tandemv1.Job, sw *tandemv1.Sweep) (*tandemv1.DecideSweep, error) {
	d := l.drivers[sw.GetId()]
	if d == nil || d.decided != sw.GetDecidedSeq() {
		var err error
		if d, err = NewDriver(v, job, sw); err != nil {
			return nil, err
		}
		l.drivers[sw.GetId()] = d
	}
	return d.Decide(v, job, func() string { return id.New("trial") })
}

// Driver is the search of one sweep. It follows from the spec and the events alone.
type Driver struct {
	sweep   string
	search  *search.Searcher
	decided int64 // last event whose decisions were carried out
	fed     int64 // last event it was told
}

// NewDriver makes the search of a sweep as it was after the last event that was decided on.
func NewDriver(v *state.View, job *tandemv1.Job, sw *tandemv1.Sweep) (*Driver, error) {
	s, err := search.New(spec.Config(job.GetSpec(), sw.GetPrior()))
	if err != nil {
		return nil, fmt.Errorf("search of sweep %s: %w", sw.GetId(), err)
	}
	for _, e := range v.SweepEvents(sw.GetId(), 0, 0) {
		if e.GetSeq() > sw.GetDecidedSeq() {
			break
		}
		s.Step(spec.Event(e)) // what it decided then is carried out
	}
	return &Driver{sweep: sw.GetId(), search: s, decided: sw.GetDecidedSeq(), fed: sw.GetDecidedSeq()}, nil
}

// Decide tells the search what has happened since, event by event, until it has decided enough for one command; nil when it
// decided nothing.
func (d *Driver) Decide(v *state.View, job *tandemv1.Job, newID func() string) (*tandemv1.DecideSweep, error) {
	c := &tandemv1.DecideSweep{SweepId: d.sweep, After: d.decided}
	for {
		events := v.SweepEvents(d.sweep, d.fed, eventBatch)
		for _, e := range events {
			for _, decision := range d.search.Step(spec.Event(e)) {
				to, err := spec.Decision(decision)
				if err != nil {
					return nil, fmt.Errorf("search of sweep %s: %w", d.sweep, err)
				}
				if create := to.GetCreate(); create != nil {
					complete(v, job, create, newID())
				}
				c.Decisions = append(c.Decisions, to)
			}
			d.fed = e.GetSeq()
			if len(c.GetDecisions()) >= decisionBatch {
				break
			}
		}
		if len(events) < eventBatch || len(c.GetDecisions()) >= decisionBatch {
			break
		}
	}
	if c.Through = d.fed; len(c.GetDecisions()) == 0 {
		return nil, nil //nolint:nilnil // nothing is a decision too
	}
	return c, nil
}

// complete gives a trial its id and its spec. One that cannot be right is made all the same, and fails: the search learns of it.
func complete(v *state.View, job *tandemv1.Job, c *tandemv1.CreateTrial, trialID string) {
	point := c.GetParameters().AsMap()
	c.TrialId = trialID
	full, err := spec.CompleteTrial(job.GetSpec(), point, c.GetTrial(), v.In(job.GetProject()).ResolveDataset)
	if err == nil {
		c.SpecHash, err = spec.Hash(full)
	}
	if err != nil {
		full, _ = spec.Patched(job.GetSpec(), point, c.GetTrial())
		c.Problem = err.Error()
	}
	c.Spec = full
}

// Limit says which limit of time or slots a sweep has come to, or when it would at the earliest; neither when it has none.
func Limit(v *state.View, job *tandemv1.Job, sw *tandemv1.Sweep, now time.Time) (reached *tandemv1.Reason, again time.Time) {
	if sw.GetExhausted() || sw.GetFinished() {
		return nil, time.Time{}
	}
	if d := sw.GetDeadline(); d != nil {
		if again = d.AsTime(); !now.Before(again) {
			return state.NewReason(tandemv1.Reason_CODE_DEADLINE_PASSED, "after", job.GetSpec().GetSearch().GetDeadline()), time.Time{}
		}
	}
	hours := job.GetSpec().GetSearch().GetGpuHours()
	if hours <= 0 {
		return nil, again
	}
	total, held := state.SlotSeconds(v, sw, float64(now.UnixNano())/1e9)
	left := hours*3600 - total
	switch {
	case left <= 0:
		return state.NewReason(tandemv1.Reason_CODE_SLOT_HOURS_USED, "hours", hours), time.Time{}
	case held > 0:
		const far = 1e6 // seconds; it is looked at before
		if at := now.Add(time.Duration(min(left/float64(held), far) * float64(time.Second))); again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return nil, again
}
