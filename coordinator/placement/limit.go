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
	// savingTime is how long work has to keep a checkpoint when its time is over; then its slots are taken away.
	savingTime = time.Minute
	// unknownTime is what work takes at least of which nobody knows more than when it ends at the latest.
	unknownTime = time.Minute
)

// limit ends the trainings that have used up the time for which their specs let them hold slots. The other groups are returned.
func (d *Decision) limit(groups []*group) []*group {
	return slices.DeleteFunc(slices.Clone(groups), func(g *group) bool {
		left, limited := state.WallLeft(g.job, g.trial, g.alloc, g.now)
		saved := g.alloc.GetEndsSince().AsTime().Add(savingTime)
		finishing := len(state.MembersIn(g.alloc, tandemv1.MemberState_MEMBER_STATE_FINISHED)) > 0
		stop := &tandemv1.StopAllocation{AllocationId: g.alloc.GetId(), Why: state.WallUsed(g.job, g.trial), End: true}
		switch {
		case !limited || finishing:
			return false
		case left > 0:
			d.wakeAt(g.now.Add(left))
			return false
		case g.alloc.GetEnds() != nil && saved.After(g.now):
			d.wakeAt(saved)
			return false
		}
		stop.Now = g.alloc.GetEnds() != nil
		d.Stops = append(d.Stops, stop)
		return true
	})
}

// evict stops what is left on nodes when their drains have taken as long as they may: with a checkpoint, then without. Groups that stay as
// they are are returned.
func (d *Decision) evict(v *state.View, groups []*group, now time.Time) []*group {
	gone := map[string]bool{}
	for _, c := range d.Stops {
		gone[c.GetAllocationId()] = true
	}
	for _, n := range v.Nodes() {
		end := n.GetDrainDeadline().AsTime()
		if n.GetDrainDeadline() == nil || !n.GetDraining() {
			continue
		}
		for _, a := range v.AllocationsOf(n.GetId()) {
			if gone[a.GetId()] || !stays(a, n) {
				continue
			}
			why := state.NewReason(tandemv1.Reason_CODE_DRAIN_OVERDUE, "node", v.NodeName(n.GetId()))
			stop := &tandemv1.StopAllocation{AllocationId: a.GetId(), Why: why}
			stop.Now = !now.Before(end.Add(savingTime))
			switch saves := kind.StageOf(a).Grouped && !a.GetStopping(); {
			case now.Before(end):
				d.wakeAt(end)
			case stop.GetNow() || saves:
				gone[a.GetId()] = true
				d.Stops = append(d.Stops, stop)
			default:
				d.wakeAt(end.Add(savingTime))
			}
		}
	}
	return slices.DeleteFunc(groups, func(g *group) bool { return gone[g.alloc.GetId()] })
}

// stays says whether an allocation has a member on a node that is not on its way out.
func stays(a *tandemv1.Allocation, n *tandemv1.Node) bool {
	return slices.ContainsFunc(a.GetMembers(), func(m *tandemv1.Member) bool {
		return m.GetNodeId() == n.GetId() && m.GetState() != tandemv1.MemberState_MEMBER_STATE_LEAVING && !state.MemberEnded(m.GetState())
	})
}

// within is a prediction of how long work takes that is ended when this much time is up; 0: it is not.
func within(took scheduler.Span, limit time.Duration) scheduler.Span {
	switch {
	case limit <= 0:
		return took
	case took == scheduler.Span{}:
		return scheduler.Span{Low: min(limit, unknownTime), High: limit}
	}
	return scheduler.Span{Low: min(took.Low, limit), High: min(took.High, limit)}
}

// timeLeft is for how much longer a trial may hold slots to train, which is some time; 0: as long as it takes.
func timeLeft(j *tandemv1.Job, t *tandemv1.Trial, alloc *tandemv1.Allocation, now time.Time) time.Duration {
	if left, limited := state.WallLeft(j, t, alloc, now); limited {
		return max(left, time.Second)
	}
	return 0
}
