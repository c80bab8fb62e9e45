package placement

import (
	"cmp"
	"slices"
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

const (
	// answerTime is how long the ranks of a broken group have to say so.
	answerTime = 2 * time.Second
	// hangTime is the same when a deadline has found a rank that hangs: all others answer at once.
	hangTime = 100 * time.Millisecond
	// replaceTime is how long the ranks that are left keep their slots while no slot is free for a replacement.
	replaceTime = 30 * time.Second
	// leaveTime is how long a member has to leave after the others have formed a group without it.
	leaveTime = 30 * time.Second
)

// reform decides what becomes of each allocation that trains, one thing at a time.
//
//  1. Let go of members that are not needed, or do not leave.
//  2. Broken: wait for the answers of all ranks, take for lost who does not answer, then make the next group of those that are
//     left, with replacements where it needs them.
//  3. New: make the first group when all have prepared.
//  4. Works: make the next group when it should have other ranks.
func (d *Decision) reform(v *state.View, groups []*group, plan scheduler.Plan) {
	grants, gives, parks := map[string]scheduler.Grant{}, map[string]scheduler.Give{}, map[string]scheduler.Park{}
	for _, g := range plan.Grants {
		grants[g.ID] = g
	}
	for _, g := range plan.Gives {
		gives[g.ID] = g
	}
	for _, g := range plan.Parks {
		parks[g.ID] = g
	}
	for _, g := range groups {
		r := &reform{group: g, command: &tandemv1.ReformAllocation{AllocationId: g.alloc.GetId(), Generation: g.alloc.GetGeneration()}}
		r.grant = members(grants[g.alloc.GetId()])
		if give, ok := gives[g.alloc.GetId()]; ok {
			g.workers.Wanted, g.givesTo = len(g.able())+len(g.assigned)-give.Slots, give.To
		}
		if park, ok := parks[g.alloc.GetId()]; ok {
			g.parks, g.givesTo = true, park.To
		}
		g.givesName = nameOf(v, g.givesTo)
		if r.decide() {
			d.Reforms = append(d.Reforms, r.command)
		}
		d.wakeAt(r.wake)
	}
}

// reform is the change of one allocation in the making.
type reform struct {
	*group
	grant   []*tandemv1.Member // what the queue gives
	command *tandemv1.ReformAllocation
	wake    time.Time
}

// decide says whether anything is to be done, and notes what; false: nothing is to be done.
func (r *reform) decide() bool {
	switch {
	case r.ends():
		return false
	case r.drop():
		return true
	case state.GroupBroken(r.alloc):
		return r.rebuild()
	case !r.works():
		return r.begin()
	}
	return r.adapt()
}

// drop lets go of members that are not needed.
func (r *reform) drop() bool {
	for _, m := range r.drained {
		r.lose(m, state.NewReason(either(r.drains, tandemv1.Reason_CODE_ITS_NODE_DRAINED, tandemv1.Reason_CODE_ITS_SLOT_DISABLED)))
	}
	for _, a := range r.unreachable {
		r.lose(a.member, a.why)
	}
	if !state.GroupBroken(r.alloc) {
		surplus := len(r.able()) + len(r.assigned) - r.workers.Wanted
		for _, m := range slices.Backward(slices.Concat(r.ready, r.assigned)) {
			if surplus > 0 {
				r.lose(m, state.NewReason(tandemv1.Reason_CODE_SURPLUS))
				surplus--
			}
		}
	}
	if len(r.leaving) > 0 && state.GroupFormed(r.alloc) {
		overdue := r.alloc.GetGroup().GetFormedAt().AsTime().Add(leaveTime)
		if r.now.Before(overdue) {
			r.wakeAt(overdue)
		} else {
			r.lose(r.leaving[0], state.NewReason(tandemv1.Reason_CODE_DID_NOT_LEAVE))
		}
	}
	return len(r.command.GetLose()) > 0
}

// rebuild makes the next group when the committed one is broken.
func (r *reform) rebuild() bool {
	since := r.alloc.GetGroup().GetBrokenAt().AsTime()
	if len(r.silent) > 0 {
		if !r.overdue() {
			r.wakeAt(r.answersBy())
			r.command.Add = r.grant // it may prepare while the others answer
			return len(r.grant) > 0
		}
		for _, m := range r.silent {
			why := state.NewReason(tandemv1.Reason_CODE_RANK_SILENT)
			if state.InGroup(m) {
				why = state.NewReason(tandemv1.Reason_CODE_RANK_SILENT, "rank", m.GetRank())
			}
			r.lose(m, why)
		}
		r.command.Add = r.grant // on other slots than theirs, for their machines may be gone
		return true
	}
	able, have := len(r.able()), len(r.able())+len(r.assigned)
	switch {
	case len(r.survivors) == 0:
		return r.giveBack(tandemv1.Reason_CODE_NO_RANK_LEFT)
	case r.behind():
		return r.giveBack(tandemv1.Reason_CODE_NO_STATE_LEFT)
	case r.alloc.GetStopping():
		return r.form(r.survivors, r.workers.Wanted, state.NewReason(tandemv1.Reason_CODE_CHECKPOINT_AND_STOP))
	case able >= r.workers.Min:
		return r.form(r.able(), r.workers.Wanted, r.size())
	case have >= r.workers.Min:
		return false // until the replacements have prepared
	case len(r.grant) > 0:
		r.command.Add = r.grant
		return true
	case !r.now.Before(since.Add(replaceTime)):
		r.command.Stop = true
		return r.form(r.survivors, r.workers.Wanted, state.NewReason(tandemv1.Reason_CODE_NOT_REPLACED))
	}
	r.wakeAt(since.Add(replaceTime))
	return false
}

// begin makes the first group.
func (r *reform) begin() bool {
	switch have := len(r.ready) + len(r.assigned); {
	case have < r.workers.Min && len(r.grant) > 0:
		r.command.Add = r.grant
		return true
	case have < r.workers.Min:
		return r.giveBack(tandemv1.Reason_CODE_WORKER_LOST_BEFORE_START)
	case len(r.assigned) == 0:
		return r.form(r.ready, r.workers.Wanted, nil)
	}
	return false
}

// adapt makes the next group when the committed one works but should have other ranks.
func (r *reform) adapt() bool {
	if after := r.alloc.GetAddAfter(); after.AsTime().After(r.now) && len(r.able())+len(r.assigned) < r.workers.Wanted {
		r.wakeAt(after.AsTime())
	}
	able, assigned := len(r.able()), len(r.assigned)
	switch {
	case r.parks:
		r.command.Stop, r.command.Why = true, r.givesWay()
		return true
	case r.alloc.GetGroup().GetRelay():
		return r.settled() && r.relayed()
	case len(r.going) > 0:
		return r.drain(able, assigned)
	case len(r.staying) > r.workers.Wanted:
		return r.settled() && r.form(r.staying, r.workers.Wanted, r.size())
	case len(r.ready) > 0 && r.settled():
		return r.form(r.able(), r.workers.Wanted, r.size())
	case len(r.grant) > 0:
		r.command.Add = r.grant
		return true
	}
	return false
}

// either is the first code where that is the case, else the other.
func either(is bool, code, other tandemv1.Reason_Code) tandemv1.Reason_Code {
	if is {
		return code
	}
	return other
}

// drain takes the ranks off nodes that are drained, and slots that are disabled.
func (r *reform) drain(able, assigned int) bool {
	why := state.NewReason(either(r.drains, tandemv1.Reason_CODE_A_NODE_DRAINED, tandemv1.Reason_CODE_A_SLOT_DISABLED))
	form := func() bool {
		if len(r.staying) > 0 {
			return r.settled() && r.form(r.able(), r.workers.Wanted, why)
		}
		// One of those that go has to hand the state of the training on, and goes when that is done.
		r.command.Relay = r.settled()
		return r.settled() && r.form(slices.Concat(r.going[:1], r.ready), r.workers.Wanted+1, why)
	}
	switch {
	case able >= r.workers.Wanted:
		return form()
	case len(r.grant) > 0:
		r.command.Add = r.grant
		return true
	case assigned > 0:
		return false // until they have prepared
	case able >= r.workers.Min:
		return form()
	}
	r.command.Stop = true
	r.command.Why = state.NewReason(tandemv1.Reason_CODE_NO_SLOT_ELSEWHERE, "slot", !r.drains)
	return true
}

// relayed makes the group that goes on training where the committed one has only handed the state on.
func (r *reform) relayed() bool {
	if len(r.staying) > 0 {
		return r.form(r.able(), r.workers.Wanted, state.NewReason(tandemv1.Reason_CODE_A_NODE_DRAINED))
	}
	return r.form(r.going, r.workers.Wanted, state.NewReason(tandemv1.Reason_CODE_ALL_NODES_DRAINED)) // what becomes of them is decided next
}

// givesWay says to whom it gives slots.
func (r *reform) givesWay() *tandemv1.Reason {
	if r.alloc.GetOnLoan() {
		return state.NewReason(tandemv1.Reason_CODE_GIVES_WAY, "to", r.givesTo, "name", r.givesName, "loan", true)
	}
	return state.NewReason(tandemv1.Reason_CODE_GIVES_WAY, "to", r.givesTo, "name", r.givesName)
}

// size says how the next group differs from the committed one; nil: in nothing.
func (r *reform) size() *tandemv1.Reason {
	before, after := int(r.alloc.GetGroup().GetWorldSize()), min(len(r.able()), r.workers.Wanted)
	switch {
	case r.givesTo != "":
		return r.givesWay()
	case after > before:
		return state.NewReason(tandemv1.Reason_CODE_GROWS, "from", before)
	case after < before:
		return state.NewReason(tandemv1.Reason_CODE_SHRINKS, "from", before)
	}
	return nil
}

// form makes the next group of members, at most this many.
func (r *reform) form(of []*tandemv1.Member, most int, why *tandemv1.Reason) bool {
	for _, m := range r.newest(of, most) {
		r.command.Form = append(r.command.Form, m.GetNumber())
	}
	r.command.Why = why
	return true
}

// newest are as many of some members, in their order. Of a broken group those stay that have done the most steps: who was to leave an
// earlier one, and is asked once more, knows less than those who went on.
func (r *reform) newest(of []*tandemv1.Member, most int) []*tandemv1.Member {
	if len(of) <= most || !state.GroupBroken(r.alloc) {
		return of[:min(len(of), most)]
	}
	steps := slices.Clone(of)
	slices.SortStableFunc(steps, func(a, b *tandemv1.Member) int { return cmp.Compare(b.GetStep(), a.GetStep()) })
	return slices.DeleteFunc(slices.Clone(of), func(m *tandemv1.Member) bool { return !slices.Contains(steps[:most], m) })
}

// giveBack lets go of all members: the trial waits for slots again.
func (r *reform) giveBack(why tandemv1.Reason_Code) bool {
	for _, list := range [][]*tandemv1.Member{r.survivors, r.ready, r.assigned, r.leaving} {
		for _, m := range list {
			r.lose(m, state.NewReason(why))
		}
	}
	return len(r.command.GetLose()) > 0
}

func (r *reform) lose(m *tandemv1.Member, why *tandemv1.Reason) {
	r.command.Lose = append(r.command.Lose, &tandemv1.LostMember{Number: m.GetNumber(), Why: why})
}

func (r *reform) wakeAt(at time.Time) { r.wake = earlier(r.wake, at) }
