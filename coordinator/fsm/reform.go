package fsm

import (
	"fmt"
	"maps"
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reformAllocation loses members, commits the next generation, and adds members, in this order. It refuses all of it when the
// allocation is no longer as the leader saw it.
func (a *applier) reformAllocation(c *tandemv1.ReformAllocation) *tandemv1.Result {
	alloc, ok := a.Allocation(c.GetAllocationId())
	if !ok || alloc.GetStage() != tandemv1.TrialStage_TRIAL_STAGE_TRAIN {
		return refuse(stale, "allocation %s trains nothing any more", c.GetAllocationId())
	}
	if alloc.GetGeneration() != c.GetGeneration() {
		return refuse(stale, "allocation %s is at generation %d, not %d", alloc.GetId(), alloc.GetGeneration(), c.GetGeneration())
	}
	for _, check := range []func(*tandemv1.Allocation, *tandemv1.ReformAllocation) string{checkLose, a.checkForm, a.checkAdd} {
		if why := check(alloc, c); why != "" {
			return refuse(stale, "%s", why)
		}
	}
	causes := map[string][]int32{}
	for _, l := range c.GetLose() {
		causes[l.GetReason()] = append(causes[l.GetReason()], l.GetNumber())
	}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		a.loseMembers(alloc, causes[cause], cause, a.blame(alloc))
		if alloc, ok = a.Allocation(c.GetAllocationId()); !ok {
			return done(c.GetAllocationId())
		}
	}
	if len(c.GetForm()) > 0 && !a.form(alloc, c) {
		return done(c.GetAllocationId())
	}
	if c.GetStop() {
		a.stopGroup(c)
	}
	a.add(c)
	if t, _ := a.Trial(alloc.GetTrialId()); c.GetReason() != "" && len(c.GetForm()) == 0 && !c.GetStop() && !alloc.GetStopping() {
		a.explain(t, sentence(c.GetReason()))
	}
	return done(c.GetAllocationId())
}

// blame is whose fault it is that the leader takes members for lost: never that of the training. One that is silent may hang, or its
// machine has vanished, and nobody can tell in the time that the others wait.
func (a *applier) blame(alloc *tandemv1.Allocation) fault {
	faulty := func(n *tandemv1.Node) bool { return state.Faulty(n, a.now.AsTime()) }
	if !state.HasGroup(alloc) && slices.ContainsFunc(a.Nodes(), faulty) {
		return ofNode // the others of a member that could not be run there, which cannot begin without it
	}
	return ofMachine
}

// checkLose says why members cannot be taken for lost; empty when they can.
func checkLose(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) string {
	seen := map[int32]bool{}
	for _, l := range c.GetLose() {
		m := state.Member(alloc, l.GetNumber())
		if m == nil || seen[l.GetNumber()] || state.MemberEnded(m.GetState()) || m.GetState() == running && !alloc.GetBroken() {
			return fmt.Sprintf("member %d of %s cannot be taken for lost any more", l.GetNumber(), alloc.GetId())
		}
		seen[l.GetNumber()] = true
	}
	return ""
}

// checkForm says why a generation cannot be made of these members, or cannot stop; empty when it can.
func (a *applier) checkForm(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) string {
	works := state.HasGroup(alloc) && !alloc.GetBroken()
	if c.GetStop() && (alloc.GetStopping() && works || !works && len(c.GetForm()) == 0) {
		return "there is no process group to stop, or it stops already"
	}
	if len(c.GetForm()) == 0 {
		return ""
	}
	lost := map[int32]bool{}
	for _, l := range c.GetLose() {
		lost[l.GetNumber()] = true
	}
	seen, survivors := map[int32]bool{}, 0
	for _, number := range c.GetForm() {
		m := state.Member(alloc, number)
		if m == nil || seen[number] || lost[number] || m.GetState() != ready && m.GetState() != running && m.GetState() != broken {
			return fmt.Sprintf("member %d of %s cannot have part in a process group now", number, alloc.GetId())
		}
		seen[number] = true
		if state.HoldsState(m) {
			survivors++
		}
	}
	for _, m := range alloc.GetMembers() {
		switch {
		case m.GetState() == finished:
			return fmt.Sprintf("member %d of %s has finished", m.GetNumber(), alloc.GetId())
		case m.GetState() == running && alloc.GetBroken() && !lost[m.GetNumber()]:
			return fmt.Sprintf("member %d of %s has not said yet that its group broke", m.GetNumber(), alloc.GetId())
		}
	}
	return a.checkSize(alloc, c, works, survivors)
}

func (a *applier) checkSize(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation, works bool, survivors int) string {
	j, _ := a.Job(alloc.GetJobId())
	workers, n := state.WorkersOf(j), len(c.GetForm())
	same := works && survivors == n && len(state.MembersIn(alloc, running)) == n && alloc.GetRelay() == c.GetRelay()
	most := workers.Max
	if c.GetRelay() {
		most++
	}
	switch {
	case !alloc.GetBroken() && alloc.GetStopping():
		return "it stops already"
	case works && (alloc.GetFormedStep() < 0 || len(state.MembersIn(alloc, stopped)) > 0):
		return "the committed group is not formed yet, or its ranks have stopped"
	case works && c.GetStop():
		return "a group that works stops as it is"
	case state.HasGroup(alloc) && survivors == 0:
		return "nobody is left who has the state of the training"
	case same:
		return "the next group would be the committed one"
	case c.GetRelay() && (!works || c.GetStop()):
		return "only a group that works hands its state on"
	case n > most || n < workers.Min && !c.GetStop() && !alloc.GetStopping():
		return fmt.Sprintf("%d ranks are not between %d and %d", n, workers.Min, workers.Max)
	}
	return ""
}

// checkAdd says why members cannot be added; empty when they can.
func (a *applier) checkAdd(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) string {
	if len(c.GetAdd()) == 0 {
		return ""
	}
	if alloc.GetStopping() || c.GetStop() || len(state.MembersIn(alloc, finished, stopped)) > 0 {
		return fmt.Sprintf("allocation %s ends", alloc.GetId())
	}
	j, _ := a.Job(alloc.GetJobId())
	return a.checkPlaces(c.GetAdd(), j)
}

// form commits the next generation; false when the trial has ended instead.
func (a *applier) form(alloc *tandemv1.Allocation, c *tandemv1.ReformAllocation) bool {
	t, _ := a.Trial(alloc.GetTrialId())
	j, _ := a.Job(alloc.GetJobId())
	if a.endIdle(t, j, "") {
		return false
	}
	alloc = state.Clone(alloc)
	alloc.Planned = state.HasGroup(alloc) && !alloc.GetBroken()
	alloc.Generation++
	for _, m := range alloc.GetMembers() {
		if m.GetState() == running || m.GetState() == broken {
			m.State = leaving
		}
		m.Rank, m.LocalRank = -1, 0
	}
	local := map[string]int32{}
	var ranks []*tandemv1.Member
	for i, number := range c.GetForm() {
		m := state.Member(alloc, number)
		m.State = running
		m.Rank, m.LocalRank = int32(i), local[m.GetNodeId()] //nolint:gosec // bounded by the spec
		local[m.GetNodeId()]++
		ranks = append(ranks, m)
	}
	alloc.WorldSize = int32(len(ranks)) //nolint:gosec // bounded by the spec
	alloc.FormedStep, alloc.FormedAt = -1, nil
	alloc.Relay = c.GetRelay()
	alloc.CommittedAt = a.now
	alloc.Broken, alloc.BrokenAt, alloc.Hung = false, nil, false
	alloc.FailedMembers, alloc.AddAfter = 0, nil
	a.forgetRendezvous(alloc.GetId())
	a.Put(alloc)
	if !alloc.GetPlanned() {
		a.idles(t.GetId())
		t, _ = a.Trial(t.GetId())
	}
	a.change(t, false, func(t *tandemv1.Trial) {
		t.Generation = alloc.GetGeneration()
		switch {
		case alloc.GetStopping():
		case alloc.GetRelay():
			t.Reason = "Hands the state of the training on to other nodes: " + c.GetReason() + "."
		default:
			t.Reason = fmt.Sprintf("Trains on %s.", count(len(ranks), "rank"))
		}
	})
	why := ""
	if c.GetReason() != "" {
		why = ": " + c.GetReason()
	}
	what := "trains"
	if alloc.GetRelay() {
		what = "passes its state along"
	}
	a.trialEvent(info, j, t, "%s on %s with %s (generation %d)%s", what, a.places(ranks), count(len(ranks), "rank"), alloc.GetGeneration(), why)
	return true
}

// stopGroup lets the committed group keep a checkpoint and stop.
func (a *applier) stopGroup(c *tandemv1.ReformAllocation) {
	alloc, _ := a.Allocation(c.GetAllocationId())
	if alloc.GetStopping() {
		return
	}
	alloc = state.Clone(alloc)
	alloc.Stopping = true
	a.Put(alloc)
	t, _ := a.Trial(alloc.GetTrialId())
	j, _ := a.Job(alloc.GetJobId())
	a.explain(t, "Stops with a checkpoint: "+c.GetReason()+".")
	a.trialEvent(warning, j, t, "stops with a checkpoint and waits for slots: %s", c.GetReason())
}

// add gives an allocation its new members.
func (a *applier) add(c *tandemv1.ReformAllocation) {
	if len(c.GetAdd()) == 0 {
		return
	}
	alloc, _ := a.Allocation(c.GetAllocationId())
	alloc = state.Clone(alloc)
	a.addMembers(alloc, c.GetAdd())
	a.Put(alloc)
	j, _ := a.Job(alloc.GetJobId())
	t, _ := a.Trial(alloc.GetTrialId())
	a.trialEvent(info, j, t, "prepares %s more on %s", count(len(c.GetAdd()), "worker"), a.places(c.GetAdd()))
}
