package sim

import (
	"slices"
	"time"

	"tandem.dev/scheduler"
)

// This is Slurm's backfill in its conservative form (SchedulerType=sched/backfill, with no bound on how many jobs are tested and how
// far it looks ahead; sched_config.html and slurm.conf(5)):
//   - A pass begins with what is known of the future: each running job holds its slots until its time limit, whatever it will really
//     take.
//   - The jobs that wait are taken by priority, then by age. Each gets the earliest time from which on enough slots are free for its
//     whole time limit; if that is now, it begins; if not, they are reserved, and what comes after it must not touch them.
//   - Every pass plans anew. There is one whenever something changes: a job arrives or ends, a node is lost or returns. Slurm's own come
//     each 30 seconds at the earliest, which would only make it later.
//   - A job that reaches its limit is killed. One whose node fails is requeued at its old place and begins with its last checkpoint.
//   - A job that wants more slots than are up gets no reservation and holds up nobody.
//
// Left out are preemption, which is off by default, and where slots are: they are counted, as with cons_tres and no wish for whole
// nodes.

// backfill is Slurm's decision.
func (s *simulation) backfill() scheduler.Plan {
	var plan scheduler.Plan
	for _, p := range s.partitions() {
		f := newFuture(s.now, p.free)
		for _, j := range p.running {
			f.release(max(j.killed(s.cfg), s.now), len(j.slots))
		}
		for _, j := range p.queue {
			if at, ok := f.reserve(j.Job.Slots, s.cfg.Start+j.limit); ok && at == s.now {
				plan.Grants = append(plan.Grants, p.grant(j))
			}
		}
	}
	return plan
}

// future is how many slots are free from now on, as far as is known: from times[i] on free[i].
type future struct {
	times []time.Duration
	free  []int
}

func newFuture(now time.Duration, free int) *future {
	return &future{times: []time.Duration{now}, free: []int{free}}
}

// release has slots come free at t.
func (f *future) release(t time.Duration, slots int) {
	for i := f.cut(t); i < len(f.free); i++ {
		f.free[i] += slots
	}
}

// reserve takes slots for so long from the earliest time on at which that many are free all the while; false: there are never so many.
func (f *future) reserve(slots int, long time.Duration) (time.Duration, bool) {
	for i := 0; i < len(f.times); i++ {
		end := f.times[i] + long
		short := i // the last step before the end that has too few
		for k := i; k < len(f.times) && f.times[k] < end; k++ {
			if f.free[k] < slots {
				short = k + 1
			}
		}
		if short > i {
			i = short - 1
			continue
		}
		from := f.times[i]
		if from > horizon {
			return 0, false
		}
		last := f.cut(end)
		for k := i; k < last; k++ {
			f.free[k] -= slots
		}
		return from, true
	}
	return 0, false
}

// cut has a step begin at t, and says which it is.
func (f *future) cut(t time.Duration) int {
	i, found := slices.BinarySearch(f.times, t)
	if !found {
		f.times, f.free = slices.Insert(f.times, i, t), slices.Insert(f.free, i, f.free[i-1])
	}
	return i
}
