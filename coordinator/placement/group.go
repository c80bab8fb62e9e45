package placement

import (
	"slices"
	"time"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// group is an allocation that trains, as Reform looks at it.
type group struct {
	alloc   *tandemv1.Allocation
	trial   *tandemv1.Trial
	job     *tandemv1.Job
	workers state.Workers
	latest  *tandemv1.Checkpoint // of the trial; nil if none
	now     time.Time

	// Members by what can be done with them, each by number.
	survivors []*tandemv1.Member // of a broken group: they have said so and keep their state
	silent    []*tandemv1.Member // of a broken group: they have not said anything yet
	staying   []*tandemv1.Member // of a group that works
	going     []*tandemv1.Member // of a group that works, on nodes that are drained, or slots that are disabled
	ready     []*tandemv1.Member // prepared, for the next group
	assigned  []*tandemv1.Member // not prepared yet
	drained   []*tandemv1.Member // prepared or not, on such nodes and slots
	leaving   []*tandemv1.Member // on their way out
	ended     []*tandemv1.Member // stopped or finished
	drains    bool               // a node of it is drained

	unreachable []unreachable // of those that could be in the next group: their nodes do not reach those of the others

	givesTo   string // the job that it gives slots to; empty: none
	givesName string // what people call that
	parks     bool   // it gives all of them

	// What it wants of the queue: so many slots, at least this many at once; spare: it goes on without.
	want, least int
	spare       bool
}

// newGroup sorts the members of an allocation; nil when it does not train.
func newGroup(v *state.View, a *tandemv1.Allocation, now time.Time) *group {
	if !kind.StageOf(a).Grouped {
		return nil
	}
	g := &group{alloc: a, now: now}
	g.trial, _ = v.Trial(a.GetTrialId())
	g.job, _ = v.Job(a.GetJobId())
	g.workers = state.WorkersOf(g.job)
	g.latest, _ = v.Checkpoint(g.trial.GetLatestCheckpointId())
	for _, m := range a.GetMembers() {
		n, _ := v.Node(m.GetNodeId())
		to := g.list(m, state.SlotLeft(n, m.GetSlotId()))
		g.drains = g.drains || n.GetDraining()
		*to = append(*to, m)
	}
	g.unreachable = g.findUnreachable(v)
	g.wants()
	return g
}

// list is where a member belongs.
func (g *group) list(m *tandemv1.Member, draining bool) *[]*tandemv1.Member {
	switch m.GetState() {
	case tandemv1.MemberState_MEMBER_STATE_BROKEN:
		return &g.survivors
	case tandemv1.MemberState_MEMBER_STATE_RUNNING:
		switch {
		case state.GroupBroken(g.alloc):
			return &g.silent
		case draining:
			return &g.going
		}
		return &g.staying
	case tandemv1.MemberState_MEMBER_STATE_LEAVING:
		return &g.leaving
	case tandemv1.MemberState_MEMBER_STATE_FINISHED, tandemv1.MemberState_MEMBER_STATE_STOPPED:
		return &g.ended
	}
	switch {
	case draining:
		return &g.drained
	case m.GetState() == tandemv1.MemberState_MEMBER_STATE_READY:
		return &g.ready
	}
	return &g.assigned
}

// works says whether its process group was committed and is not broken.
func (g *group) works() bool { return state.GroupWorks(g.alloc) }

// settled says whether the committed group trains, so that the next may be planned.
func (g *group) settled() bool { return g.works() && state.GroupFormed(g.alloc) }

// ends says whether it comes to its end by itself.
func (g *group) ends() bool {
	finished := len(state.MembersIn(g.alloc, tandemv1.MemberState_MEMBER_STATE_FINISHED)) > 0
	return finished || !state.GroupBroken(g.alloc) && (g.alloc.GetStopping() || len(g.ended) > 0)
}

// behind says whether those that are left of a broken group know less than the newest checkpoint: who had the state was lost
// before it was handed over to them.
func (g *group) behind() bool {
	known := int64(0)
	for _, m := range g.survivors {
		known = max(known, m.GetStep())
	}
	return g.latest.GetId() != g.alloc.GetResumeCheckpointId() && known < g.latest.GetStep()
}

// able are the members that the next group can be made of, in order of their ranks: those that have the state of the training first.
func (g *group) able() []*tandemv1.Member {
	var all []*tandemv1.Member
	for _, list := range [][]*tandemv1.Member{g.survivors, g.staying, g.ready} {
		all = append(all, list...)
	}
	return all
}

// wants finds out what it wants of the queue.
func (g *group) wants() {
	able := len(g.able()) + len(g.silent) // who has not answered yet may still do so
	if g.overdue() {
		able -= len(g.silent)
	}
	have := able + len(g.assigned)
	switch {
	case g.ends() || g.alloc.GetStopping() || have >= g.workers.Wanted:
	case g.works():
		if !g.alloc.GetAddAfter().AsTime().After(g.now) {
			g.want, g.least, g.spare = g.workers.Wanted-have, 1, true
		}
	case state.GroupBroken(g.alloc) && (len(g.silent)+len(g.survivors) == 0 || g.overdue() && len(g.survivors) == 0):
	case state.GroupBroken(g.alloc) && able >= g.workers.Min:
		// It goes on without; but now it is known whose slots to stay away from.
		if g.overdue() && !g.alloc.GetAddAfter().AsTime().After(g.now) {
			g.want, g.least, g.spare = g.workers.Wanted-have, 1, true
		}
	case have < g.workers.Min:
		g.want, g.least = g.workers.Wanted-have, g.workers.Min-have
	}
}

// answersBy is until when the ranks of a broken group have to say so.
func (g *group) answersBy() time.Time {
	if g.alloc.GetGroup().GetHung() {
		return g.alloc.GetGroup().GetBrokenAt().AsTime().Add(hangTime)
	}
	return g.alloc.GetGroup().GetBrokenAt().AsTime().Add(answerTime)
}

// overdue says whether the ranks that are silent are taken for lost.
func (g *group) overdue() bool {
	return state.GroupBroken(g.alloc) && len(g.silent) > 0 && !g.now.Before(g.answersBy())
}

// suspects are the nodes of ranks that did not answer in time: each of them hangs, or its machine is out of reach.
func (g *group) suspects() []string {
	if !g.overdue() {
		return nil
	}
	return nodesOf(g.silent)
}

// nodes are those that a member more has to reach.
func (g *group) nodes() []string { return nodesOf(slices.Concat(g.able(), g.assigned)) }

func nodesOf(members []*tandemv1.Member) []string {
	var ids []string
	for _, m := range members {
		if !slices.Contains(ids, m.GetNodeId()) {
			ids = append(ids, m.GetNodeId())
		}
	}
	return ids
}
