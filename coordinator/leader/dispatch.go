package leader

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// Dispatch gives slots to pending trials.
func Dispatch(s *state.State, p Proposer, log zerolog.Logger) Loop {
	const name = "dispatch"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			plan := Plan(v, now, func() string { return id.New("alloc") })
			if plan == nil {
				return state.TriedAgain(v, now), nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: plan}})
			if err != nil {
				return time.Time{}, err
			}
			for i, a := range plan.GetAllocations() {
				refused := res.GetWhy()
				if parts := res.GetPartWhys(); i < len(parts) {
					refused = parts[i]
				}
				log.Info().Str("job", a.GetJobId()).Str("trial", a.GetTrialId()).Int64("gen", a.GetGeneration()).
					Int("workers", len(a.GetMembers())).Str("refused", say.Reason(refused, say.Plain)).Msg("slots granted")
			}
			if anyRefused(res) {
				rest(ctx, time.Second)
			}
			return time.Time{}, settle(ctx, s, res)
		})
	}}
}

// Plan decides what to grant to pending trials; nil: nothing. What allocations want has its place in the queue too, and is given to
// them by Reform. Why the others wait says Explain.
func Plan(v *state.View, now time.Time, newID func() string) *tandemv1.ApplyPlan {
	snapshot, _ := picture(v, now)
	decided := scheduler.Schedule(snapshot)
	plan := &tandemv1.ApplyPlan{}
	for _, g := range decided.Grants {
		if t, ok := v.Trial(g.ID); ok {
			plan.Allocations = append(plan.Allocations, allocation(t, g, newID()))
		}
	}
	if len(plan.GetAllocations()) == 0 {
		return nil
	}
	return plan
}

// picture is the state as the scheduler sees it, and the allocations that train.
func picture(v *state.View, now time.Time) (scheduler.Snapshot, []*group) {
	snapshot := scheduler.Snapshot{Nodes: nodes(v, now)}
	for _, t := range v.TrialsIn("", tandemv1.TrialState_TRIAL_STATE_PENDING) {
		job, ok := v.Job(t.GetJobId())
		if !ok || job.GetIntent() != tandemv1.JobIntent_JOB_INTENT_RUN {
			continue
		}
		r := request(job, t, t.GetId())
		if workers := state.WorkersOf(job); !state.Grouped(t.GetStage()) {
			r.Slots = 1
		} else {
			r.Slots, r.Min = workers.Wanted, workers.Min
		}
		snapshot.Pending = append(snapshot.Pending, r)
	}
	var groups []*group
	for _, a := range v.Allocations() {
		g := newGroup(v, a, now)
		if g == nil {
			continue
		}
		groups = append(groups, g)
		r := request(g.job, g.trial, a.GetId())
		snapshot.Running = append(snapshot.Running, scheduler.Claim{
			ID: r.ID, Pool: r.Pool, Priority: r.Priority, CreatedAt: r.CreatedAt, Gives: g.spareWorkers(), Leaving: outgoing(v, g),
		})
		if g.want > 0 {
			r.Slots, r.Min, r.Spare, r.With, r.Avoid = g.want, g.least, g.spare, g.nodes(), g.suspects()
			snapshot.Pending = append(snapshot.Pending, r)
		}
	}
	return snapshot, groups
}

// nodes are the nodes as the scheduler sees them.
func nodes(v *state.View, now time.Time) []scheduler.Node {
	var all []scheduler.Node
	parted := state.Parted(v, now)
	for _, n := range v.Nodes() {
		held := state.UsageOf(v, n.GetId())
		sn := scheduler.Node{
			Parted: parted[n.GetId()], ID: n.GetId(), Pool: n.GetPool(), Slots: len(n.GetSlots()), Unavailable: unavailable(n, now),
		}
		for _, s := range n.GetSlots() {
			if held[s.GetId()] == "" {
				sn.Free = append(sn.Free, s.GetId())
			} else if _, ok := v.Replica(held[s.GetId()]); ok {
				sn.Serving++
			}
		}
		all = append(all, sn)
	}
	return all
}

// request is the request of a job without its slots.
func request(j *tandemv1.Job, t *tandemv1.Trial, id string) scheduler.Request {
	return scheduler.Request{
		ID: id, Name: j.GetId(), Pool: j.GetSpec().GetResources().GetPool(),
		Priority: int(j.GetSpec().GetPriority()), CreatedAt: t.GetCreatedAt().AsTime(),
	}
}

// unavailable says why no work may be placed on a node; empty: it may.
func unavailable(n *tandemv1.Node, now time.Time) string {
	switch {
	case n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE:
		return "lost"
	case n.GetDraining():
		return "draining"
	case n.GetCordoned():
		return "cordoned"
	case state.Faulty(n, now):
		return "faulty"
	}
	return ""
}

// allocation is a grant as the state keeps it; where its engines start from the state machine knows best.
func allocation(t *tandemv1.Trial, g scheduler.Grant, allocationID string) *tandemv1.Allocation {
	a := &tandemv1.Allocation{
		Id: allocationID, TrialId: t.GetId(), JobId: t.GetJobId(), Generation: t.GetGeneration(), Stage: t.GetStage(),
		Members: members(g),
	}
	if !state.Grouped(t.GetStage()) {
		a.Generation++ // training counts on when its process group is committed
	}
	return a
}

// members are the places of a grant.
func members(g scheduler.Grant) []*tandemv1.Member {
	var all []*tandemv1.Member
	for _, p := range g.Placements {
		all = append(all, &tandemv1.Member{NodeId: p.Node, SlotId: p.Slot})
	}
	return all
}
