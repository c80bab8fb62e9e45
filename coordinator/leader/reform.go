package leader

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
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
	// refusedPause keeps decider and state machine from keeping each other busy should they ever disagree. It is short, for
	// reports come between a decision and its entry all the time.
	refusedPause = 50 * time.Millisecond
)

// Reformer makes process groups: the first of an allocation, and the next when one breaks or should have other ranks.
func Reformer(s *state.State, p Proposer, log zerolog.Logger) Loop {
	const name = "reform"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			decided, wake := Reform(v, now)
			results, err := proposeAll(ctx, p, name, decided)
			if err != nil {
				return wake, err
			}
			refused := false
			for i, c := range decided {
				res := results[i]
				log.Info().Str("allocation", c.GetAllocationId()).Int64("gen", c.GetGeneration()).Ints32("form", c.GetForm()).
					Int("add", len(c.GetAdd())).Int("lose", len(c.GetLose())).Bool("stop", c.GetStop()).Str("reason", say.Reason(c.GetWhy(), say.Plain)).
					Str("refused", say.Reason(res.GetWhy(), say.Plain)).Msg("allocation changes")
				if err := settle(ctx, s, res); err != nil {
					return wake, err
				}
				refused = refused || anyRefused(res)
			}
			if refused {
				rest(ctx, refusedPause)
			}
			return wake, nil
		})
	}}
}

// proposeAll proposes changes of different allocations at the same time, for Raft writes together what comes together: many short
// trials begin in the time of a few.
func proposeAll(ctx context.Context, p Proposer, name string, decided []*tandemv1.ReformAllocation) ([]*tandemv1.Result, error) {
	results, errs := make([]*tandemv1.Result, len(decided)), make([]error, len(decided))
	var wg sync.WaitGroup
	for i, c := range decided {
		wg.Go(func() {
			results[i], errs[i] = propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ReformAllocation{ReformAllocation: c}})
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// Reform decides what becomes of each allocation that trains, one thing at a time; nothing when all is as it should be. wake
// is when to look again though the state has not changed; zero: then only.
//
//  1. Ask the queue, in which what an allocation wants has its place, for slots, and who must give some to a higher priority.
//  2. Let go of members that are not needed, or do not leave.
//  3. Broken: wait for the answers of all ranks, take for lost who does not answer, then make the next group of those that are
//     left, with replacements where it needs them.
//  4. New: make the first group when all have prepared.
//  5. Works: make the next group when it should have other ranks.
func Reform(v *state.View, now time.Time) (decided []*tandemv1.ReformAllocation, wake time.Time) {
	snapshot, groups := picture(v, now)
	plan := scheduler.Schedule(snapshot)
	grants, gives := map[string]scheduler.Grant{}, map[string]scheduler.Give{}
	for _, g := range plan.Grants {
		grants[g.ID] = g
	}
	for _, g := range plan.Gives {
		gives[g.ID] = g
	}
	wake = state.TriedAgain(v, now)
	for _, g := range groups {
		d := &decision{group: g, command: &tandemv1.ReformAllocation{AllocationId: g.alloc.GetId(), Generation: g.alloc.GetGeneration()}}
		d.grant = members(grants[g.alloc.GetId()])
		if give, ok := gives[g.alloc.GetId()]; ok {
			g.workers.Wanted, g.givesTo = len(g.able())+len(g.assigned)-give.Slots, give.To
		}
		if d.make() {
			decided = append(decided, d.command)
		}
		if !d.wake.IsZero() && (wake.IsZero() || d.wake.Before(wake)) {
			wake = d.wake
		}
	}
	return decided, wake
}

// decision is one in the making.
type decision struct {
	*group
	grant   []*tandemv1.Member // what the queue gives
	command *tandemv1.ReformAllocation
	wake    time.Time
}

// make decides; false: nothing is to be done.
func (d *decision) make() bool {
	switch {
	case d.ends():
		return false
	case d.drop():
		return true
	case state.GroupBroken(d.alloc):
		return d.rebuild()
	case !d.works():
		return d.begin()
	}
	return d.adapt()
}

// drop lets go of members that are not needed.
func (d *decision) drop() bool {
	for _, m := range d.drained {
		d.lose(m, reason(tandemv1.Reason_CODE_ITS_NODE_DRAINED))
	}
	for _, a := range d.apart {
		d.lose(a.member, a.why)
	}
	if !state.GroupBroken(d.alloc) {
		surplus := len(d.able()) + len(d.assigned) - d.workers.Wanted
		for _, m := range slices.Backward(slices.Concat(d.ready, d.assigned)) {
			if surplus > 0 {
				d.lose(m, reason(tandemv1.Reason_CODE_SURPLUS))
				surplus--
			}
		}
	}
	if len(d.leaving) > 0 && state.GroupFormed(d.alloc) {
		overdue := d.alloc.GetGroup().GetFormedAt().AsTime().Add(leaveTime)
		if d.now.Before(overdue) {
			d.wakeAt(overdue)
		} else {
			d.lose(d.leaving[0], reason(tandemv1.Reason_CODE_DID_NOT_LEAVE))
		}
	}
	return len(d.command.GetLose()) > 0
}

// rebuild makes the next group when the committed one is broken.
func (d *decision) rebuild() bool {
	since := d.alloc.GetGroup().GetBrokenAt().AsTime()
	if len(d.silent) > 0 {
		if !d.overdue() {
			d.wakeAt(d.answersBy())
			d.command.Add = d.grant // it may prepare while the others answer
			return len(d.grant) > 0
		}
		for _, m := range d.silent {
			why := reason(tandemv1.Reason_CODE_RANK_SILENT)
			if state.InGroup(m) {
				why = reason(tandemv1.Reason_CODE_RANK_SILENT, "rank", m.GetRank())
			}
			d.lose(m, why)
		}
		d.command.Add = d.grant // on other slots than theirs, for their machines may be gone
		return true
	}
	able, have := len(d.able()), len(d.able())+len(d.assigned)
	switch {
	case len(d.survivors) == 0:
		return d.giveBack(tandemv1.Reason_CODE_NO_RANK_LEFT)
	case d.behind():
		return d.giveBack(tandemv1.Reason_CODE_NO_STATE_LEFT)
	case d.alloc.GetStopping():
		return d.form(d.survivors, d.workers.Wanted, reason(tandemv1.Reason_CODE_CHECKPOINT_AND_STOP))
	case able >= d.workers.Min:
		return d.form(d.able(), d.workers.Wanted, d.size())
	case have >= d.workers.Min:
		return false // until the replacements have prepared
	case len(d.grant) > 0:
		d.command.Add = d.grant
		return true
	case !d.now.Before(since.Add(replaceTime)):
		d.command.Stop = true
		return d.form(d.survivors, d.workers.Wanted, reason(tandemv1.Reason_CODE_NOT_REPLACED))
	}
	d.wakeAt(since.Add(replaceTime))
	return false
}

// begin makes the first group.
func (d *decision) begin() bool {
	switch have := len(d.ready) + len(d.assigned); {
	case have < d.workers.Min && len(d.grant) > 0:
		d.command.Add = d.grant
		return true
	case have < d.workers.Min:
		return d.giveBack(tandemv1.Reason_CODE_WORKER_LOST_BEFORE_START)
	case len(d.assigned) == 0:
		return d.form(d.ready, d.workers.Wanted, nil)
	}
	return false
}

// adapt makes the next group when the committed one works but should have other ranks.
func (d *decision) adapt() bool {
	if after := d.alloc.GetAddAfter(); after.AsTime().After(d.now) && len(d.able())+len(d.assigned) < d.workers.Wanted {
		d.wakeAt(after.AsTime())
	}
	able, assigned := len(d.able()), len(d.assigned)
	switch {
	case d.alloc.GetGroup().GetRelay():
		return d.settled() && d.relayed()
	case len(d.going) > 0:
		return d.drain(able, assigned)
	case len(d.staying) > d.workers.Wanted:
		return d.settled() && d.form(d.staying, d.workers.Wanted, d.size())
	case len(d.ready) > 0 && d.settled():
		return d.form(d.able(), d.workers.Wanted, d.size())
	case len(d.grant) > 0:
		d.command.Add = d.grant
		return true
	}
	return false
}

// drain takes the ranks off nodes that are drained.
func (d *decision) drain(able, assigned int) bool {
	form := func() bool {
		if len(d.staying) > 0 {
			return d.settled() && d.form(d.able(), d.workers.Wanted, reason(tandemv1.Reason_CODE_A_NODE_DRAINED))
		}
		// One of those that go has to hand the state of the training on, and goes when that is done.
		d.command.Relay = d.settled()
		return d.settled() && d.form(slices.Concat(d.going[:1], d.ready), d.workers.Wanted+1, reason(tandemv1.Reason_CODE_A_NODE_DRAINED))
	}
	switch {
	case able >= d.workers.Wanted:
		return form()
	case len(d.grant) > 0:
		d.command.Add = d.grant
		return true
	case assigned > 0:
		return false // until they have prepared
	case able >= d.workers.Min:
		return form()
	}
	d.command.Stop = true
	d.command.Why = reason(tandemv1.Reason_CODE_NO_SLOT_ELSEWHERE)
	return true
}

// relayed makes the group that goes on training where the committed one has only handed the state on.
func (d *decision) relayed() bool {
	if len(d.staying) > 0 {
		return d.form(d.able(), d.workers.Wanted, reason(tandemv1.Reason_CODE_A_NODE_DRAINED))
	}
	return d.form(d.going, d.workers.Wanted, reason(tandemv1.Reason_CODE_ALL_NODES_DRAINED)) // what becomes of them is decided next
}

// size says how the next group differs from the committed one; nil: in nothing.
func (d *decision) size() *tandemv1.Reason {
	before, after := int(d.alloc.GetGroup().GetWorldSize()), min(len(d.able()), d.workers.Wanted)
	switch {
	case d.givesTo != "":
		return reason(tandemv1.Reason_CODE_GIVES_WAY, "to", d.givesTo)
	case after > before:
		return reason(tandemv1.Reason_CODE_GROWS, "from", before)
	case after < before:
		return reason(tandemv1.Reason_CODE_SHRINKS, "from", before)
	}
	return nil
}

// form makes the next group of members, at most so many.
func (d *decision) form(of []*tandemv1.Member, most int, why *tandemv1.Reason) bool {
	for _, m := range of[:min(len(of), most)] {
		d.command.Form = append(d.command.Form, m.GetNumber())
	}
	d.command.Why = why
	return true
}

// giveBack lets go of all members: the trial waits for slots again.
func (d *decision) giveBack(why tandemv1.Reason_Code) bool {
	for _, list := range [][]*tandemv1.Member{d.survivors, d.ready, d.assigned, d.leaving} {
		for _, m := range list {
			d.lose(m, reason(why))
		}
	}
	return len(d.command.GetLose()) > 0
}

func (d *decision) lose(m *tandemv1.Member, why *tandemv1.Reason) {
	d.command.Lose = append(d.command.Lose, &tandemv1.LostMember{Number: m.GetNumber(), Why: why})
}

func (d *decision) wakeAt(at time.Time) {
	if d.wake.IsZero() || at.Before(d.wake) {
		d.wake = at
	}
}

// spareWorkers is how many members a group can give away at the next step boundary.
func (g *group) spareWorkers() int {
	if !g.settled() || g.ends() || len(g.leaving)+len(g.going) > 0 {
		return 0
	}
	return len(g.able()) + len(g.assigned) - g.workers.Min
}

// outgoing is how many slots a group is about to set free for others.
func outgoing(v *state.View, g *group) int {
	from := g.leaving
	if g.alloc.GetStopping() {
		from = g.alloc.GetMembers()
	}
	n := 0
	for _, m := range from {
		if at, _ := v.Node(m.GetNodeId()); unavailable(at, g.now) == "" {
			n++
		}
	}
	return n
}
