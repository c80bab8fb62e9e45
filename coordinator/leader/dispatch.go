package leader

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// Dispatch gives slots to pending trials.
func Dispatch(s *state.State, p Proposer, log zerolog.Logger) Loop {
	const name = "dispatch"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, _ time.Time) (time.Time, error) {
			plan := Plan(v, func() string { return id.New("alloc") })
			if plan == nil {
				return time.Time{}, nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: plan}})
			if err != nil {
				return time.Time{}, err
			}
			for i, a := range plan.GetAllocations() {
				refused := res.GetMessage()
				if parts := res.GetPartRefusals(); i < len(parts) {
					refused = parts[i]
				}
				log.Info().Str("job", a.GetJobId()).Str("trial", a.GetTrialId()).Int64("gen", a.GetGeneration()).
					Int("ranks", len(a.GetRanks())).Str("refused", refused).Msg("slots granted")
			}
			if anyRefused(res) {
				rest(ctx)
			}
			return time.Time{}, settle(ctx, s, res)
		})
	}}
}

// Plan decides what to grant to pending trials and why the others wait; nil when nothing changes.
func Plan(v *state.View, newID func() string) *tandemv1.ApplyPlan {
	decided := scheduler.Schedule(Cluster(v))
	plan := &tandemv1.ApplyPlan{PendingReasons: map[string]string{}}
	for _, g := range decided.Grants {
		t, _ := v.Trial(g.ID)
		plan.Allocations = append(plan.Allocations, allocation(t, g, newID()))
	}
	for _, w := range decided.Waiting {
		if t, _ := v.Trial(w.ID); t.GetReason() != w.Reason {
			plan.PendingReasons[w.ID] = w.Reason
		}
	}
	if len(plan.GetAllocations())+len(plan.GetPendingReasons()) == 0 {
		return nil
	}
	return plan
}

// Cluster is the state as the scheduler sees it.
func Cluster(v *state.View) scheduler.Cluster {
	var c scheduler.Cluster
	for _, n := range v.Nodes() {
		held := state.UsageOf(v, n.GetId())
		sn := scheduler.Node{ID: n.GetId(), Pool: n.GetPool(), Slots: len(n.GetSlots()), Unavailable: unavailable(n)}
		for _, s := range n.GetSlots() {
			if held[s.GetId()] == "" {
				sn.Free = append(sn.Free, s.GetId())
			} else if _, ok := v.Replica(held[s.GetId()]); ok {
				sn.Serving++
			}
		}
		c.Nodes = append(c.Nodes, sn)
	}
	for _, t := range v.Trials() {
		job, ok := v.Job(t.GetJobId())
		if !ok || t.GetState() != tandemv1.TrialState_TRIAL_STATE_PENDING || job.GetIntent() != tandemv1.JobIntent_JOB_INTENT_RUN {
			continue
		}
		slots := int(job.GetSpec().GetResources().GetWorkers())
		if t.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
			slots = 1
		}
		c.Pending = append(c.Pending, scheduler.Request{
			ID: t.GetId(), Name: job.GetId(), Pool: job.GetSpec().GetResources().GetPool(), Slots: slots,
			Priority: int(job.GetSpec().GetPriority()), CreatedAt: t.GetCreatedAt().AsTime(),
		})
	}
	return c
}

// unavailable says why no work may be placed on a node; empty: it may.
func unavailable(n *tandemv1.Node) string {
	switch {
	case n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE:
		return "lost"
	case n.GetCordoned():
		return "cordoned"
	}
	return ""
}

// allocation is a grant as the state keeps it; where its engines start from the state machine knows best.
func allocation(t *tandemv1.Trial, g scheduler.Grant, allocationID string) *tandemv1.Allocation {
	a := &tandemv1.Allocation{
		Id: allocationID, TrialId: t.GetId(), JobId: t.GetJobId(), Generation: t.GetGeneration() + 1, Stage: t.GetStage(),
	}
	local := map[string]int32{}
	for i, p := range g.Placements {
		a.Ranks = append(a.Ranks, &tandemv1.Rank{
			Rank: int32(i), LocalRank: local[p.Node], NodeId: p.Node, SlotId: p.Slot, //nolint:gosec // bounded by the spec
			State: tandemv1.RankState_RANK_STATE_ASSIGNED,
		})
		local[p.Node]++
	}
	return a
}
