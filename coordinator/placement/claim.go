package placement

import (
	"slices"
	"time"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

const (
	// guaranteed is how long work has its slots before it is parked for other work of a higher priority, if they are not on loan.
	guaranteed = 10 * time.Minute
	// loanLevel is the feature level from which on the state can say that slots are on loan.
	loanLevel = 2
	// publishTime is how long publishing is taken to last at most.
	publishTime = 2 * time.Minute
	// newsTime is how old the progress of a trial may be to predict its end from it.
	newsTime = time.Minute
)

// Progress returns how far a trial is in a generation, as it was heard last; nil: nothing was heard of it.
type Progress func(trial string, generation int64) *tandemv1.Progress

// claim is what an allocation that trains holds, and what it can set free.
func (g *group) claim(v *state.View, heard Progress) scheduler.Claim {
	r := request(g.job, g.trial, g.alloc.GetId())
	c := scheduler.Claim{
		ID: r.ID, Project: r.Project, Pool: r.Pool, Priority: r.Priority, CreatedAt: r.CreatedAt,
		OnLoan: g.alloc.GetOnLoan(), Protected: g.now.Before(g.guaranteedUntil()),
	}
	took := remaining(g.trial, heard(g.trial.GetId(), g.alloc.GetGeneration()), g.now)
	c.Ends = within(took, timeLeft(g.job, g.trial, g.alloc, g.now))
	leaving, staying := g.leaving, slices.Concat(g.able(), g.assigned)
	if g.alloc.GetStopping() {
		leaving, staying = g.alloc.GetMembers(), nil
	}
	c.At = g.usable(v, leaving)
	c.Leaving = len(c.At)
	held := g.usable(v, staying)
	c.At, c.Slots = append(c.At, held...), len(held)
	if g.movable() {
		c.Gives = min(c.Slots, len(g.able())+len(g.assigned)-g.workers.Min)
		c.Parks = parks(g.job, g.alloc)
		c.Unsaved = g.unsaved()
	}
	return c
}

// usable are the slots of members that others may have.
func (g *group) usable(v *state.View, members []*tandemv1.Member) (all []scheduler.Placement) {
	for _, m := range members {
		if n, _ := v.Node(m.GetNodeId()); unavailable(n, g.now) == "" && !state.SlotDisabled(n, m.GetSlotId()) {
			all = append(all, scheduler.Placement{Node: m.GetNodeId(), Slot: m.GetSlotId()})
		}
	}
	return all
}

// single is what an allocation holds that has no groups: it publishes, keeps its slot, and is done soon.
func single(v *state.View, a *tandemv1.Allocation) scheduler.Claim {
	job, _ := v.Job(a.GetJobId())
	t, _ := v.Trial(a.GetTrialId())
	r := request(job, t, a.GetId())
	c := scheduler.Claim{
		ID: r.ID, Project: r.Project, Pool: r.Pool, Priority: r.Priority, CreatedAt: r.CreatedAt, Slots: len(a.GetMembers()),
		Ends: scheduler.Span{Low: time.Second, High: publishTime},
	}
	for _, m := range a.GetMembers() {
		c.At = append(c.At, scheduler.Placement{Node: m.GetNodeId(), Slot: m.GetSlotId()})
	}
	return c
}

// parks says whether work of a job's stage can keep a checkpoint, set its slots free and go on later.
func parks(j *tandemv1.Job, stage interface{ GetStage() tandemv1.TrialStage }) bool {
	return kind.StageOf(stage).Resumes && !kind.Of(j).Replays
}

// movable says whether it can give slots away at the next step boundary, or park.
func (g *group) movable() bool {
	return g.settled() && !g.ends() && len(g.leaving)+len(g.going) == 0
}

// guaranteedUntil is when it may be parked for other work.
func (g *group) guaranteedUntil() time.Time { return g.alloc.GetCreatedAt().AsTime().Add(guaranteed) }

// unsaved is for how long it has worked without a checkpoint.
func (g *group) unsaved() time.Duration {
	since := g.alloc.GetCreatedAt().AsTime()
	if saved := g.latest.GetCreatedAt().AsTime(); g.latest != nil && saved.After(since) {
		since = saved
	}
	return max(0, g.now.Sub(since))
}

// remaining predicts in how much time a trial has its work done: by its speed, within a fifth. The zero Span: nobody knows.
func remaining(t *tandemv1.Trial, p *tandemv1.Progress, now time.Time) scheduler.Span {
	if p == nil || p.GetStepsPerSecond() <= 0 || p.GetTotalSteps() <= 0 || now.Sub(p.GetTime().AsTime()) > newsTime {
		return scheduler.Span{}
	}
	steps := float64(p.GetTotalSteps())
	if until := t.GetUntil(); until > 0 {
		steps *= until
	}
	left := time.Duration((steps - float64(p.GetStep())) / p.GetStepsPerSecond() * float64(time.Second))
	left = max(time.Second, left-now.Sub(p.GetTime().AsTime()))
	return scheduler.Span{Low: left - left/5, High: left + left/5}
}
