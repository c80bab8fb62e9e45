package placement

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
	"tandem.dev/scheduler/forecast"
)

const (
	// Past jobs of its name say how long a job takes, if there are some, else those of its pool: the newest, and not the odd ones.
	likeIt, ofPool, newest = 2, 5, 100
	// maxAhead is how many of those before a job are named.
	maxAhead = 20
)

// Outlooker returns Outlook, or with a trial OutlookIf, with what is heard.
func Outlooker(heard Progress) func(*state.View, *tandemv1.Job, *tandemv1.Trial, time.Time) *tandemv1.Outlook {
	return func(v *state.View, job *tandemv1.Job, trial *tandemv1.Trial, now time.Time) *tandemv1.Outlook {
		if trial != nil {
			return OutlookIf(v, heard, job, trial, now)
		}
		return Outlook(v, heard, job, now)
	}
}

// Outlook says what is ahead of the trial of a job that is next in the queue. For a job that does not wait for slots nothing is known but
// why it is where it is.
func Outlook(v *state.View, heard Progress, job *tandemv1.Job, now time.Time) *tandemv1.Outlook {
	snapshot, _ := picture(v, heard, now)
	for _, w := range scheduler.Schedule(snapshot).Waiting {
		if t, ok := v.Trial(w.ID); ok && t.GetJobId() == job.GetId() {
			return outlook(v, snapshot, job, t, now)
		}
	}
	return &tandemv1.Outlook{JobId: job.GetId(), Pool: state.PoolOf(job), Why: job.GetWhy()}
}

// OutlookIf is the Outlook that a job would have if it were submitted.
func OutlookIf(v *state.View, heard Progress, job *tandemv1.Job, trial *tandemv1.Trial, now time.Time) *tandemv1.Outlook {
	if why := state.WaitsForJobs(job); why != nil {
		return &tandemv1.Outlook{JobId: job.GetId(), Pool: state.PoolOf(job), Why: why}
	}
	snapshot, _ := picture(v, heard, now)
	trial = state.Clone(trial)
	trial.CreatedAt = timestamppb.New(now)
	snapshot.Pending = append(snapshot.Pending, pending(v, job, trial))
	snapshot.Queues = queues(v, snapshot, now)
	return outlook(v, snapshot, job, trial, now)
}

func outlook(v *state.View, s scheduler.Snapshot, job *tandemv1.Job, t *tandemv1.Trial, now time.Time) *tandemv1.Outlook {
	said := forecast.Of(s, durations(v, s), t.GetId())
	o := &tandemv1.Outlook{
		JobId: job.GetId(), TrialId: t.GetId(), Pool: state.PoolOf(job), OnLoan: said.OnLoan,
		Position: int32(said.Position), //nolint:gosec // bounded by the number of trials
		Now:      byNode(v, said.Now), Frees: freed(v, s, said.Gives, said.Parks),
	}
	for _, ahead := range said.Ahead[:min(len(said.Ahead), maxAhead)] {
		o.Ahead = append(o.Ahead, nameOf(v, ahead))
	}
	if said.Position > 0 {
		o.Why = reason(v, said.Wait)
	}
	if said.Known {
		o.BeginsAfter, o.BeginsBefore = timestamppb.New(now.Add(said.Begins.Low)), timestamppb.New(now.Add(said.Begins.High))
	}
	for _, c := range said.Changes {
		o.Changes = append(o.Changes, &tandemv1.StartChange{
			Workers: int32(c.Slots), Priority: int32(c.Priority), Pool: c.Pool, //nolint:gosec // as of specs
			Frees: freed(v, s, c.Gives, c.Parks),
		})
	}
	return o
}

// byNode are slots by node.
func byNode(v *state.View, at []scheduler.Placement) (all []*tandemv1.NodeSlots) {
	for _, p := range at {
		i := slices.IndexFunc(all, func(n *tandemv1.NodeSlots) bool { return n.GetNodeId() == p.Node })
		if i < 0 {
			i, all = len(all), append(all, &tandemv1.NodeSlots{NodeId: p.Node, Node: v.NodeName(p.Node)})
		}
		all[i].Slots++
	}
	return all
}

// freed is what jobs set free.
func freed(v *state.View, s scheduler.Snapshot, gives []scheduler.Give, parks []scheduler.Park) (all []*tandemv1.Freed) {
	by := func(claim string, slots int, parked bool) {
		a, _ := v.Allocation(claim)
		j, _ := v.Job(a.GetJobId())
		all = append(all, &tandemv1.Freed{JobId: j.GetId(), Job: j.GetName(), Slots: int32(slots), Parked: parked}) //nolint:gosec // slots
	}
	for _, g := range gives {
		by(g.ID, g.Slots, false)
	}
	for _, k := range parks {
		i := slices.IndexFunc(s.Running, func(c scheduler.Claim) bool { return c.ID == k.ID })
		by(k.ID, s.Running[i].Slots, true)
	}
	return all
}

// durations are how long the trials that wait will hold their slots, as far as jobs that have ended tell.
func durations(v *state.View, s scheduler.Snapshot) map[string]scheduler.Span {
	named, pooled := map[string][]time.Duration{}, map[string][]time.Duration{}
	for _, j := range slices.Backward(v.Jobs()) {
		took := j.GetFinishedAt().AsTime().Sub(j.GetStartedAt().AsTime())
		pool := state.PoolOf(j)
		ended := j.GetState() == tandemv1.JobState_JOB_STATE_COMPLETED && j.GetStartedAt() != nil
		if !ended || kind.Of(j).Searches || len(pooled[pool]) >= newest {
			continue
		}
		key := pool + "/" + j.GetName()
		named[key], pooled[pool] = append(named[key], took), append(pooled[pool], took)
	}
	all := map[string]scheduler.Span{}
	for _, r := range s.Pending {
		t, ok := v.Trial(r.ID)
		if !ok {
			continue
		}
		j, _ := v.Job(t.GetJobId())
		took := scheduler.Span{}
		if like := named[r.Pool+"/"+j.GetName()]; state.OfSweep(t) {
			// past trials are of other points, and stop where the search wants
		} else if len(like) >= likeIt {
			took = forecast.Middle(like)
		} else if like := pooled[r.Pool]; len(like) >= ofPool {
			took = forecast.Middle(like)
		}
		if took = within(took, r.Limit); took != (scheduler.Span{}) {
			all[r.ID] = took
		}
	}
	return all
}
