package fsm

import (
	"slices"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reformAllocation loses members, commits the next generation, and adds members, in this order. It refuses all of it when the
// allocation is no longer as the leader saw it.
func (a *applier) reformAllocation(c *tandemv1.ReformAllocation) (*tandemv1.Result, *refusal) {
	alloc, ok := a.Allocation(c.GetAllocationId())
	if !ok || !kind.StageOf(alloc).Grouped {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_ALLOCATION_OVER, "allocation", c.GetAllocationId())
	}
	if alloc.GetGeneration() != c.GetGeneration() {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_GENERATION_NOT_COMMITTED, "given", c.GetGeneration(), "allocation", alloc.GetId(), "current", alloc.GetGeneration())
	}
	for _, check := range []func(*tandemv1.Allocation, *tandemv1.ReformAllocation) *refusal{checkLose, a.checkForm, a.checkAdd} {
		if no := check(alloc, c); no != nil {
			return nil, &refusal{codeStale, no.why}
		}
	}
	for _, l := range state.ByCause(c.GetLose()) {
		a.loseMembers(alloc, l.Numbers, l.Cause, a.blame(alloc))
		if alloc, ok = a.Allocation(c.GetAllocationId()); !ok {
			return done(c.GetAllocationId()), nil
		}
	}
	if len(c.GetForm()) > 0 && !a.form(c) {
		return done(c.GetAllocationId()), nil
	}
	if c.GetStop() {
		a.stopGroup(c)
	}
	a.add(c)
	if whyOf(c) != nil && len(c.GetForm()) == 0 && !c.GetStop() && !alloc.GetStopping() {
		a.explain(alloc.GetTrialId(), whyOf(c))
	}
	return done(c.GetAllocationId()), nil
}

// whyOf is why the leader changes an allocation; nil: it has not said so.
func whyOf(c *tandemv1.ReformAllocation) *tandemv1.Reason { return given(c.GetWhy(), c.GetReason()) }

// changed refuses a decision that no longer fits its allocation; what is a keyword.
func changed(alloc *tandemv1.Allocation, what string, pairs ...any) *refusal {
	return refuse(codeStale, tandemv1.Reason_CODE_ALLOCATION_CHANGED, append(pairs, "allocation", alloc.GetId(), "what", what)...)
}

// blame is whose fault it is that the leader takes members for lost: never that of the training. One that is silent may hang, or its
// machine has vanished, and nobody can tell in the time that the others wait.
func (a sight) blame(alloc *tandemv1.Allocation) fault {
	faulty := func(n *tandemv1.Node) bool { return state.Faulty(n, a.now.AsTime()) }
	if !state.HasGroup(alloc) && slices.ContainsFunc(a.Nodes(), faulty) {
		return ofNode // the others of a member that could not be run there, which cannot begin without it
	}
	return ofMachine
}

// checkLose says why members cannot be taken for lost; nil when they can.
func checkLose(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) *refusal {
	seen := map[int32]bool{}
	for _, l := range c.GetLose() {
		m := state.Member(alloc, l.GetNumber())
		if m == nil || seen[l.GetNumber()] || state.MemberEnded(m.GetState()) || m.GetState() == memberRunning && !state.GroupBroken(alloc) {
			return changed(alloc, "not-lost", "member", l.GetNumber())
		}
		seen[l.GetNumber()] = true
	}
	return nil
}

// checkForm says why a generation cannot be made of these members, or cannot stop; nil when it can.
func (a sight) checkForm(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) *refusal {
	works := state.GroupWorks(alloc)
	if c.GetStop() && (alloc.GetStopping() && works || !works && len(c.GetForm()) == 0) {
		return changed(alloc, "not-stoppable")
	}
	if len(c.GetForm()) == 0 {
		return nil
	}
	lost := map[int32]bool{}
	for _, l := range c.GetLose() {
		lost[l.GetNumber()] = true
	}
	seen, survivors := map[int32]bool{}, 0
	for _, number := range c.GetForm() {
		m := state.Member(alloc, number)
		if m == nil || seen[number] || lost[number] || m.GetState() != memberReady && m.GetState() != memberRunning && m.GetState() != memberBroken {
			return changed(alloc, "not-ready", "member", number)
		}
		seen[number] = true
		if state.HoldsState(m) {
			survivors++
		}
	}
	for _, m := range alloc.GetMembers() {
		switch {
		case m.GetState() == memberFinished:
			return changed(alloc, "finished", "member", m.GetNumber())
		case m.GetState() == memberRunning && state.GroupBroken(alloc) && !lost[m.GetNumber()]:
			return changed(alloc, "silent", "member", m.GetNumber())
		}
	}
	return a.checkSize(alloc, c, works, survivors)
}

func (a sight) checkSize(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation, works bool, survivors int) *refusal {
	j, _ := a.Job(alloc.GetJobId())
	workers, n := state.WorkersOf(j), len(c.GetForm())
	same := works && survivors == n && len(state.MembersIn(alloc, memberRunning)) == n && alloc.GetGroup().GetRelay() == c.GetRelay()
	most := workers.Max
	if c.GetRelay() {
		most++
	}
	switch {
	case !state.GroupBroken(alloc) && alloc.GetStopping():
		return changed(alloc, "stopping")
	case works && (!state.GroupFormed(alloc) || len(state.MembersIn(alloc, memberStopped)) > 0):
		return changed(alloc, "not-formed")
	case works && c.GetStop():
		return changed(alloc, "works")
	case state.HasGroup(alloc) && survivors == 0:
		return changed(alloc, "no-state-left")
	case same:
		return changed(alloc, "same-group")
	case c.GetRelay() && (!works || c.GetStop()):
		return changed(alloc, "relay-without-group")
	case n > most || n < workers.Min && !c.GetStop() && !alloc.GetStopping():
		return refuse(codeStale, tandemv1.Reason_CODE_OUT_OF_RANGE, "noun", "allocation", "field", "ranks", "min", workers.Min, "max", workers.Max, "given", n)
	}
	return nil
}

// checkAdd says why members cannot be added; nil when they can.
func (a sight) checkAdd(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) *refusal {
	if len(c.GetAdd()) == 0 {
		return nil
	}
	if alloc.GetStopping() || c.GetStop() || len(state.MembersIn(alloc, memberFinished, memberStopped)) > 0 {
		return changed(alloc, "ends")
	}
	j, _ := a.Job(alloc.GetJobId())
	return a.checkPlaces(c.GetAdd(), j)
}

// form commits the next generation; false when the trial has ended instead.
func (a *applier) form(c *tandemv1.ReformAllocation) bool {
	alloc, _ := a.Allocation(c.GetAllocationId())
	if a.endIdle(alloc.GetTrialId(), nil) {
		return false
	}
	alloc = edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
		alloc.Generation++
		state.GiveRanks(alloc, c.GetForm())
		alloc.Group = &tandemv1.Group{
			WorldSize:   int32(len(c.GetForm())), //nolint:gosec // bounded by the spec
			CommittedAt: a.now,
			Planned:     state.GroupWorks(alloc),
			Relay:       c.GetRelay(),
		}
		alloc.FailedMembers, alloc.AddAfter = 0, nil
	})
	a.forgetRendezvous(alloc.GetId())
	if !alloc.GetGroup().GetPlanned() {
		a.countIdle(alloc.GetTrialId())
	}
	t := edit(a, a.Trial, alloc.GetTrialId(), func(t *tandemv1.Trial) {
		t.Generation = alloc.GetGeneration()
		switch {
		case alloc.GetStopping():
		case alloc.GetGroup().GetRelay():
			t.Why, t.Reason = reasonFrom(whyOf(c), tandemv1.Reason_CODE_RELAYING), ""
		default:
			t.Why, t.Reason = reason(tandemv1.Reason_CODE_TRAINING, "ranks", alloc.GetGroup().GetWorldSize()), ""
		}
	})
	what := tandemv1.Event_TYPE_GROUP_COMMITTED
	if alloc.GetGroup().GetRelay() {
		what = tandemv1.Event_TYPE_GROUP_RELAYING
	}
	j, _ := a.Job(alloc.GetJobId())
	var ranks []*tandemv1.Member
	for _, number := range c.GetForm() {
		ranks = append(ranks, state.Member(alloc, number))
	}
	a.trialEvent(infoLevel, what, j, t, whyOf(c), "nodes", a.places(ranks), "ranks", len(ranks), "generation", alloc.GetGeneration())
	return true
}

// stopGroup lets the committed group keep a checkpoint and stop.
func (a *applier) stopGroup(c *tandemv1.ReformAllocation) {
	if alloc, _ := a.Allocation(c.GetAllocationId()); alloc.GetStopping() {
		return
	}
	alloc := edit(a, a.Allocation, c.GetAllocationId(), func(alloc *tandemv1.Allocation) { alloc.Stopping = true })
	a.explain(alloc.GetTrialId(), reasonFrom(whyOf(c), tandemv1.Reason_CODE_STOPPING_FOR))
	t, _ := a.Trial(alloc.GetTrialId())
	j, _ := a.Job(alloc.GetJobId())
	a.trialEvent(warningLevel, tandemv1.Event_TYPE_GROUP_STOPPING, j, t, whyOf(c))
}

// add gives an allocation its new members.
func (a *applier) add(c *tandemv1.ReformAllocation) {
	if len(c.GetAdd()) == 0 {
		return
	}
	alloc := edit(a, a.Allocation, c.GetAllocationId(), func(alloc *tandemv1.Allocation) { state.AddMembers(alloc, c.GetAdd(), a.now) })
	j, _ := a.Job(alloc.GetJobId())
	t, _ := a.Trial(alloc.GetTrialId())
	a.trialEvent(infoLevel, tandemv1.Event_TYPE_WORKERS_ADDED, j, t, nil, "workers", len(c.GetAdd()), "nodes", a.places(c.GetAdd()))
}
