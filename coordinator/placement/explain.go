package placement

import (
	"maps"
	"slices"
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// Explainer returns Explain with what is heard.
func Explainer(heard Progress) func(v *state.View, now time.Time) map[string]*tandemv1.Reason {
	return func(v *state.View, now time.Time) map[string]*tandemv1.Reason { return Explain(v, heard, now) }
}

// Explain says why trials wait for slots, and why those that train have fewer ranks than they should, by trial. It follows from the
// state and the time alone, so whoever is asked works it out: it is neither proposed nor stored.
func Explain(v *state.View, heard Progress, now time.Time) map[string]*tandemv1.Reason {
	waits, all := map[string]*tandemv1.Reason{}, map[string]*tandemv1.Reason{}
	snapshot, groups := picture(v, heard, now)
	for _, w := range scheduler.Schedule(snapshot).Waiting {
		why := reason(v, w)
		waits[w.ID] = why
		if _, ok := v.Trial(w.ID); ok {
			all[w.ID] = why
		}
	}
	for _, g := range groups {
		why := waits[g.alloc.GetId()]
		switch {
		case why == nil:
		case g.ends() || len(g.going) > 0:
		case g.settled():
			all[g.trial.GetId()] = state.NewReasonFrom(why, tandemv1.Reason_CODE_TRAINING, "ranks", len(g.staying), "wanted", g.workers.Wanted)
		case state.GroupBroken(g.alloc) && len(g.silent) == 0 && len(g.able())+len(g.assigned) < g.workers.Min:
			all[g.trial.GetId()] = state.NewReasonFrom(why, tandemv1.Reason_CODE_REPLACING)
		}
	}
	return all
}

// reason is why something waits, as the API says it.
func reason(v *state.View, w scheduler.Wait) *tandemv1.Reason {
	why := state.NewReason(waitCodes[w.Code])
	maps.Copy(why.Args, w.Args)
	if first := why.GetArgs()["first"]; first != "" {
		why.Args["first_name"] = nameOf(v, first)
	}
	return why
}

// nameOf is what people call a job.
func nameOf(v *state.View, job string) string {
	j, _ := v.Job(job)
	return j.GetName()
}

// waitCodes are the scheduler's codes and what the API calls them.
var waitCodes = map[scheduler.Code]tandemv1.Reason_Code{
	scheduler.NoNodes:     tandemv1.Reason_CODE_POOL_WITHOUT_NODES,
	scheduler.TooFew:      tandemv1.Reason_CODE_SLOTS_TOO_FEW,
	scheduler.NotWhole:    tandemv1.Reason_CODE_NODES_NOT_WHOLE,
	scheduler.Labelled:    tandemv1.Reason_CODE_SLOTS_LABELLED_TOO_FEW,
	scheduler.Unreachable: tandemv1.Reason_CODE_SLOTS_PARTED,
	scheduler.Busy:        tandemv1.Reason_CODE_SLOTS_BUSY,
	scheduler.Behind:      tandemv1.Reason_CODE_BEHIND,
}

// WaitCodes are the codes by which Explain says why something waits for slots, in order.
func WaitCodes() []tandemv1.Reason_Code { return slices.Sorted(maps.Values(waitCodes)) }
