package placement

import (
	"cmp"
	"time"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// picture is the state as the scheduler sees it, and the allocations that train.
func picture(v *state.View, heard Progress, now time.Time) (scheduler.Snapshot, []*group) {
	snapshot := scheduler.Snapshot{Nodes: nodes(v, now)}
	for _, t := range v.TrialsIn("", tandemv1.TrialState_TRIAL_STATE_PENDING) {
		job, ok := v.Job(t.GetJobId())
		if !ok || job.GetIntent() != tandemv1.JobIntent_JOB_INTENT_RUN || state.WaitsForJobs(job) != nil {
			continue
		}
		snapshot.Pending = append(snapshot.Pending, pending(v, job, t))
	}
	var groups []*group
	for _, a := range v.Allocations() {
		g := newGroup(v, a, now)
		if g == nil {
			snapshot.Running = append(snapshot.Running, single(v, a))
			continue
		}
		groups = append(groups, g)
		snapshot.Running = append(snapshot.Running, g.claim(v, heard))
		if g.want > 0 {
			r := request(g.job, g.trial, a.GetId())
			r.Slots, r.Min, r.Spare, r.With, r.Avoid = g.want, g.least, g.spare, g.nodes(), g.suspects()
			snapshot.Pending = append(snapshot.Pending, r)
		}
	}
	snapshot.Queues = queues(v, snapshot, now)
	return snapshot, groups
}

// pending is the request of a trial that waits.
func pending(v *state.View, job *tandemv1.Job, t *tandemv1.Trial) scheduler.Request {
	r := request(job, t, t.GetId())
	if workers := state.WorkersOf(job); !kind.StageOf(t).Grouped {
		r.Slots = 1
	} else {
		r.Slots, r.Min = workers.Wanted, workers.Min
	}
	r.Parks = parks(job, t) && v.Level() >= loanLevel
	r.Limit = timeLeft(job, t, nil, time.Time{})
	return r
}

// nodes are the nodes as the scheduler sees them.
func nodes(v *state.View, now time.Time) []scheduler.Node {
	var all []scheduler.Node
	unreachable := state.Unreachable(v, now)
	policies := map[string]*tandemv1.PoolPolicy{}
	for _, n := range v.Nodes() {
		held, policy := state.UsageOf(v, n.GetId()), policies[n.GetPool()]
		if policy == nil {
			policy = state.PoolPolicy(v, n.GetPool())
			policies[n.GetPool()] = policy
		}
		sn := scheduler.Node{
			Unreachable: unreachable[n.GetId()], ID: n.GetId(), Pool: n.GetPool(), Labels: n.GetLabels(), Unavailable: unavailable(n, now),
			Rack: state.RackOf(n, policy), Spread: policy.GetPlacement() == state.PlacementSpread,
		}
		for _, s := range n.GetSlots() {
			if state.SlotDisabled(n, s.GetId()) {
				sn.Disabled++
				continue
			}
			sn.Slots++
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
		ID: id, Name: j.GetId(), Project: cmp.Or(j.GetProject(), state.DefaultProject), Pool: state.PoolOf(j),
		Priority: int(state.PriorityOf(j)), CreatedAt: t.GetCreatedAt().AsTime(),
		Labels: j.GetSpec().GetPlacement().GetLabels(), Whole: j.GetSpec().GetPlacement().GetWholeNodes(),
	}
}

// lost is why no work may be placed on a node that is not alive.
const lost = "lost"

// unavailable says why no work may be placed on a node; empty: it may.
func unavailable(n *tandemv1.Node, now time.Time) string {
	switch {
	case n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE:
		return lost
	case n.GetDraining():
		return "draining"
	case n.GetCordoned():
		return "cordoned"
	case state.Faulty(n, now):
		return "faulty"
	}
	return ""
}
