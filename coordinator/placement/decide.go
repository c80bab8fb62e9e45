package placement

import (
	"time"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// Decision is what is to be changed in a state. Its parts fit each other: no slot is in two of them.
type Decision struct {
	// Plan has the allocations of trials that waited; nil: none.
	Plan *tandemv1.ApplyPlan
	// Stops end allocations, each at most once.
	Stops []*tandemv1.StopAllocation
	// Reforms change other allocations that train, each at most once.
	Reforms []*tandemv1.ReformAllocation
	// Rollouts change the replicas of deployments, each at most once.
	Rollouts []*tandemv1.ApplyRollout
	// Wake is when to look again though the state has not changed; zero: then only.
	Wake time.Time
}

// Decide decides what becomes of all slots, on one picture of the state and of what was heard; nothing when all is as it should be. newID
// makes ids with a prefix.
//
//  1. Ask the scheduler who gets which slots, and who gives some up.
//  2. Grant slots to trials that wait.
//  3. End what has used its time up, and what is left where a drain has.
//  4. Change the groups of the other allocations that train.
//  5. Place and remove replicas, on slots that are free then.
func Decide(v *state.View, heard Progress, now time.Time, newID func(prefix string) string) Decision {
	snapshot, groups := picture(v, heard, now)
	plan := scheduler.Schedule(snapshot)
	d := Decision{Plan: grants(v, plan, newID)}
	d.wakeAt(state.TriedAgain(v, now))
	d.reform(v, d.evict(v, d.limit(groups), now), plan)
	d.wakeAt(unprotected(groups, snapshot.Pending, plan, now))
	d.roll(v, now, snapshot.Nodes, plan, newID)
	return d
}

// Commands are those that carry the decision out, in any order.
func (d Decision) Commands() []*tandemv1.Command {
	var all []*tandemv1.Command
	if d.Plan != nil {
		all = append(all, &tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: d.Plan}})
	}
	for _, c := range d.Stops {
		all = append(all, &tandemv1.Command{Command: &tandemv1.Command_StopAllocation{StopAllocation: c}})
	}
	for _, c := range d.Reforms {
		all = append(all, &tandemv1.Command{Command: &tandemv1.Command_ReformAllocation{ReformAllocation: c}})
	}
	for _, c := range d.Rollouts {
		all = append(all, &tandemv1.Command{Command: &tandemv1.Command_ApplyRollout{ApplyRollout: c}})
	}
	return all
}

func (d *Decision) wakeAt(at time.Time) { d.Wake = earlier(d.Wake, at) }

// earlier is the first of two times; those that are zero do not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// unprotected is when the next group may be parked for one that waits; zero: no group is protected now from who waits.
func unprotected(groups []*group, pending []scheduler.Request, plan scheduler.Plan, now time.Time) (next time.Time) {
	busy := map[string]bool{}
	for _, w := range plan.Waiting {
		busy[w.ID] = w.Code == scheduler.Busy
	}
	highest := map[string]int{} // of those in a pool that wait for slots
	for _, r := range pending {
		if before, ok := highest[r.Pool]; busy[r.ID] && (!ok || r.Priority > before) {
			highest[r.Pool] = r.Priority
		}
	}
	for _, g := range groups {
		of := request(g.job, g.trial, g.alloc.GetId())
		most, ok := highest[of.Pool]
		if at := g.guaranteedUntil(); ok && of.Priority < most && at.After(now) && !g.alloc.GetOnLoan() && parks(g.job, g.alloc) {
			next = earlier(next, at)
		}
	}
	return next
}

// grants are the allocations of trials that get slots; nil: none does. What allocations want has its place in the queue too, and is given
// to them by reform.
func grants(v *state.View, decided scheduler.Plan, newID func(prefix string) string) *tandemv1.ApplyPlan {
	plan := &tandemv1.ApplyPlan{}
	for _, g := range decided.Grants {
		if t, ok := v.Trial(g.ID); ok {
			plan.Allocations = append(plan.Allocations, allocation(t, g, newID("alloc")))
		}
	}
	if len(plan.GetAllocations()) == 0 {
		return nil
	}
	return plan
}

// allocation is a grant as the state keeps it; where its engines start from the state machine knows best.
func allocation(t *tandemv1.Trial, g scheduler.Grant, allocationID string) *tandemv1.Allocation {
	a := &tandemv1.Allocation{
		Id: allocationID, TrialId: t.GetId(), JobId: t.GetJobId(), Generation: t.GetGeneration(), Stage: t.GetStage(),
		Members: members(g), OnLoan: g.OnLoan,
	}
	if !kind.StageOf(t).Grouped {
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
