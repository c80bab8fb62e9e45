package fsm

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	memberAssigned = tandemv1.MemberState_MEMBER_STATE_ASSIGNED
	memberReady    = tandemv1.MemberState_MEMBER_STATE_READY
	memberRunning  = tandemv1.MemberState_MEMBER_STATE_RUNNING
	memberBroken   = tandemv1.MemberState_MEMBER_STATE_BROKEN
	memberLeaving  = tandemv1.MemberState_MEMBER_STATE_LEAVING
	memberFinished = tandemv1.MemberState_MEMBER_STATE_FINISHED
	memberStopped  = tandemv1.MemberState_MEMBER_STATE_STOPPED
)

// The pause before a member is added to a group that works doubles with each that failed before it had a part in it.
const (
	firstAddPause   = time.Second
	longestAddPause = 5 * time.Minute
)

func (a *applier) memberReady(alloc *tandemv1.Allocation, m *tandemv1.Member, r *tandemv1.EngineReady) {
	if m.GetState() != memberAssigned {
		return
	}
	a.nodeRuns(m.GetNodeId())
	a.noteUnreachable(alloc, m.GetNodeId(), r)
	does := kind.StageOf(alloc)
	edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
		m := state.Member(alloc, m.GetNumber())
		m.State, m.Address = memberReady, r.GetAddress()
		if !does.Grouped {
			m.State = memberRunning // it has no process group to wait for
		}
	})
	if r.GetTotalSteps() == 0 && !does.Publishes {
		return
	}
	edit(a, a.Trial, alloc.GetTrialId(), func(t *tandemv1.Trial) {
		if r.GetTotalSteps() > 0 {
			t.TotalSteps = r.GetTotalSteps()
		}
		if does.Publishes && !alloc.GetStopping() {
			t.Why, t.Reason = reason(tandemv1.Reason_CODE_PUBLISHING), ""
		}
	})
}

// groupFormed takes the word of rank 0 that the committed group trains; that of an older one is no news.
func (a *applier) groupFormed(alloc *tandemv1.Allocation, generation, step int64) {
	if !state.HasGroup(alloc) || generation != alloc.GetGeneration() || state.GroupFormed(alloc) {
		return
	}
	if !state.GroupBroken(alloc) { // else who was to leave when it was formed has been asked for its state, and is waited for
		edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) { alloc.Group.FormedAt = a.now })
	}
	a.progressed(alloc.GetTrialId(), step, false)
	a.noteReached(alloc)
}

// groupBroken takes the word of a rank that the committed group does not work any more for it. That of an older one is no news, but
// for the one before a planned change, while nobody has gone over: whom that waits for, the committed one would wait for too.
func (a *applier) groupBroken(alloc *tandemv1.Allocation, m *tandemv1.Member, generation int64, b *tandemv1.GroupBroken) {
	if state.MemberEnded(m.GetState()) || !state.HasGroup(alloc) {
		return
	}
	answers := generation == alloc.GetGeneration() && state.HoldsState(m)
	before := generation == alloc.GetGeneration()-1 && alloc.GetGroup().GetPlanned() && !state.GroupFormed(alloc)
	if !answers && !before {
		return
	}
	if len(state.MembersIn(alloc, memberFinished)) > 0 {
		a.endMember(alloc, m, memberFinished) // it has passed the barrier at which all was done
		return
	}
	a.noteUnreachable(alloc, m.GetNodeId(), b)
	first := !state.GroupBroken(alloc)
	alloc = edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
		a.breakGroup(alloc)
		if answers { // else it will, as all others, when it is told that the committed one is broken
			m := state.Member(alloc, m.GetNumber())
			m.State, m.Step = memberBroken, b.GetStep()
			alloc.Group.Hung = alloc.GetGroup().GetHung() || b.GetHung()
		}
	})
	a.progressed(alloc.GetTrialId(), b.GetStep(), false)
	if first {
		a.reportBreak(alloc, tandemv1.Event_TYPE_GROUP_BROKEN, state.EngineFailed(a.View, m, b.GetMessage()))
	}
}

// breakGroup marks the committed group of an allocation, which is a copy already, as one that does not work any more. Who was to
// leave when it was formed is needed still.
func (a sight) breakGroup(alloc *tandemv1.Allocation) {
	if state.GroupBroken(alloc) {
		return
	}
	alloc.Group.BrokenAt = a.now
	if state.GroupFormed(alloc) {
		return
	}
	for _, m := range state.MembersIn(alloc, memberLeaving) {
		m.State = memberRunning
	}
}

// countIdle counts a generation that has not brought a step or checkpoint more, so far.
func (a *applier) countIdle(trialID string) {
	edit(a, a.Trial, trialID, func(t *tandemv1.Trial) { t.IdleGenerations++ })
}

// progressed notes how far a trial is. A step more than was known, or a fresh checkpoint, is what faults must leave room for.
func (a *applier) progressed(trialID string, step int64, fresh bool) {
	t, ok := a.Trial(trialID)
	if !ok || step <= t.GetKnownStep() && (!fresh || t.GetIdleGenerations()+t.GetRestartsInRow() == 0) {
		return
	}
	edit(a, a.Trial, trialID, func(t *tandemv1.Trial) {
		t.KnownStep = max(t.GetKnownStep(), step)
		t.IdleGenerations, t.RestartsInRow = 0, 0
	})
}

// reportBreak tells people why a group is formed anew.
func (a *applier) reportBreak(alloc *tandemv1.Allocation, what tandemv1.Event_Type, cause *tandemv1.Reason, pairs ...any) {
	j, _ := a.Job(alloc.GetJobId())
	t, _ := a.Trial(alloc.GetTrialId())
	a.trialEvent(warningLevel, what, j, t, cause, pairs...)
	if !alloc.GetStopping() {
		a.explain(t.GetId(), reasonFrom(cause, tandemv1.Reason_CODE_REGROUPING))
	}
}

// fault is whose fault it is that members are lost, and so what limits how often that may happen.
type fault int

const (
	ofEngine  fault = iota // uses up max_restarts
	ofMachine              // of the machine, the agent or the network: limited by the generations without a step more
	ofNode                 // of a node that could not run the engine: limited by the pauses in which it is avoided
)

// loseMembers takes members away for one cause, and decides what that means for the rest.
func (a *applier) loseMembers(alloc *tandemv1.Allocation, numbers []int32, cause *tandemv1.Reason, blame fault) {
	if !kind.StageOf(alloc).Grouped {
		a.losePublisher(alloc, cause, blame)
		return
	}
	if len(state.MembersIn(alloc, memberFinished)) > 0 {
		a.loseAfterEnd(alloc, numbers)
		return
	}
	lost := state.TollOf(alloc, numbers)
	if blame == ofEngine && lost.Restart && !a.countRestart(alloc.GetTrialId(), cause) {
		return
	}
	a.spend(alloc, lost.Gone...)
	alloc = edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
		alloc.Members = slices.DeleteFunc(alloc.Members, func(m *tandemv1.Member) bool { return slices.ContainsFunc(lost.Gone, state.SameMember(m)) })
		if blame == ofEngine {
			a.putOffAdding(alloc, lost.Added)
		}
		if lost.Ranks > 0 {
			a.breakGroup(alloc)
		}
	})
	switch {
	case len(alloc.GetMembers()) == 0 || allEnded(alloc) && !alloc.GetStopping():
		a.giveBack(alloc, cause, blame)
	case allEnded(alloc):
		a.concludeAllocation(alloc)
	case lost.Ranks > 0:
		a.reportBreak(alloc, tandemv1.Event_TYPE_RANKS_LOST, cause, "ranks", lost.Ranks)
	case lost.Others > 0:
		j, _ := a.Job(alloc.GetJobId())
		t, _ := a.Trial(alloc.GetTrialId())
		a.trialEvent(warningLevel, tandemv1.Event_TYPE_WORKERS_LOST, j, t, cause, "workers", lost.Others)
	}
}

// putOffAdding lets a while pass before the next member is added to an allocation, which is a copy already, for some have failed.
func (a sight) putOffAdding(alloc *tandemv1.Allocation, failed int) {
	for range failed {
		pause := min(firstAddPause<<min(alloc.GetFailedMembers(), 20), longestAddPause)
		alloc.FailedMembers++
		alloc.AddAfter = timestamppb.New(a.now.AsTime().Add(pause))
	}
}

// loseAfterEnd takes ranks for finished that are lost after another one has: ranks finish only when all their work is done.
func (a *applier) loseAfterEnd(alloc *tandemv1.Allocation, numbers []int32) {
	for _, number := range numbers {
		alloc, ok := a.Allocation(alloc.GetId())
		if !ok {
			return
		}
		if m := state.Member(alloc, number); m != nil && state.InGroup(m) {
			a.endMember(alloc, m, memberFinished)
		} else if m != nil {
			a.removeMember(alloc, m)
		}
	}
}

// removeMember frees the slot of a member that nobody needs any more.
func (a *applier) removeMember(alloc *tandemv1.Allocation, m *tandemv1.Member) {
	a.spend(alloc, m)
	alloc = edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
		alloc.Members = slices.DeleteFunc(alloc.Members, state.SameMember(m))
	})
	switch {
	case len(alloc.GetMembers()) == 0:
		a.giveBack(alloc, reason(tandemv1.Reason_CODE_ENGINES_STOPPED), ofEngine)
	case allEnded(alloc):
		a.concludeAllocation(alloc)
	}
}

// losePublisher takes the allocation of a trial away that publishes.
func (a *applier) losePublisher(alloc *tandemv1.Allocation, cause *tandemv1.Reason, blame fault) {
	if _, published := a.Version(state.VersionID(alloc.GetId())); published {
		j, _ := a.Job(alloc.GetJobId())
		a.endTrial(alloc.GetTrialId(), tandemv1.TrialState_TRIAL_STATE_COMPLETED, reason(tandemv1.Reason_CODE_PUBLISHED, "version", j.GetPublishedVersion()))
		return
	}
	if blame == ofEngine && !a.countRestart(alloc.GetTrialId(), cause) {
		return
	}
	a.giveBack(alloc, cause, blame)
}

// giveBack ends an allocation that has lost its last member by a fault that another attempt may survive.
func (a *applier) giveBack(alloc *tandemv1.Allocation, cause *tandemv1.Reason, blame fault) {
	if !state.HasGroup(alloc) && blame != ofNode {
		a.countIdle(alloc.GetTrialId()) // else it was counted when the group was committed
	}
	if alloc.GetEnds() != nil {
		a.endTrial(alloc.GetTrialId(), tandemv1.TrialState_TRIAL_STATE_FAILED, alloc.GetEnds())
		return
	}
	if a.endIdle(alloc.GetTrialId(), cause) {
		return
	}
	j, _ := a.Job(alloc.GetJobId())
	t, _ := a.Trial(alloc.GetTrialId())
	a.trialEvent(warningLevel, tandemv1.Event_TYPE_ALL_RANKS_LOST, j, t, cause, state.ResumePoint(a.View, t)...)
	why := reasonFrom(cause, tandemv1.Reason_CODE_GOES_ON, state.ResumePoint(a.View, t)...)
	if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE {
		a.pauseTrial(t.GetId(), why)
		return
	}
	a.queueTrial(t.GetId(), why)
}

// endMember takes the word of an engine that it has finished, or stopped as it was asked to.
func (a *applier) endMember(alloc *tandemv1.Allocation, m *tandemv1.Member, how tandemv1.MemberState) {
	if state.MemberEnded(m.GetState()) {
		return
	}
	outside := state.HasGroup(alloc) && !state.InGroup(m)
	if m.GetState() == memberLeaving || outside {
		a.removeMember(alloc, m)
		return
	}
	alloc = edit(a, a.Allocation, alloc.GetId(), func(alloc *tandemv1.Allocation) {
		for _, o := range alloc.GetMembers() {
			// Ranks finish only when all their work is done, so that those that wait for another group have finished too.
			if o.GetNumber() == m.GetNumber() || how == memberFinished && o.GetState() == memberBroken {
				o.State = how
			}
		}
	})
	if allEnded(alloc) {
		a.concludeAllocation(alloc)
	}
}

// allEnded says whether an allocation has done what it was for: its ranks, or before the first group all its members, have ended.
func allEnded(alloc *tandemv1.Allocation) bool {
	live := state.MembersIn(alloc, memberRunning, memberBroken)
	if !state.HasGroup(alloc) {
		live = append(live, state.MembersIn(alloc, memberAssigned, memberReady)...)
	}
	return len(live) == 0 && len(state.MembersIn(alloc, memberFinished, memberStopped)) > 0
}
