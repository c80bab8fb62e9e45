package placement

import (
	"math"
	"time"

	"tandem.dev/coordinator/state"
	"tandem.dev/scheduler"
)

// halfLife is the time after which it counts half as much that slots were held.
const halfLife = 7 * 24 * time.Hour

// queues are the projects in the pools that they want slots of; none where only one project does, for it has no one to share with.
func queues(v *state.View, s scheduler.Snapshot, now time.Time) (all []scheduler.Queue) {
	wanted := map[string]map[string]bool{} // pool -> projects
	for _, r := range s.Pending {
		if wanted[r.Pool] == nil {
			wanted[r.Pool] = map[string]bool{}
		}
		wanted[r.Pool][r.Project] = true
	}
	shared := false
	for pool, projects := range wanted {
		shared = shared || len(projects) > 1
		if len(projects) == 1 {
			delete(wanted, pool)
		}
	}
	if !shared {
		return nil
	}
	had := recent(v, now)
	for _, p := range state.Projects(v) {
		for pool, projects := range wanted {
			if projects[p.GetName()] {
				of := queue{p.GetName(), pool}
				all = append(all, scheduler.Queue{Project: of.project, Pool: pool, Weight: p.GetWeight(), Recent: had[of]})
			}
		}
	}
	return all
}

// queue is a project in a pool.
type queue struct{ project, pool string }

// recent is how many slots projects have held on average lately, what was longer ago counting less: a slot that was held always is 1, one
// that was held until a half-life ago 1/2. Of what was held on a day it is known how much, and taken that it was spread over the day.
func recent(v *state.View, now time.Time) map[queue]float64 {
	all := map[queue]float64{}
	for _, u := range state.Usages(v) {
		from, ok := state.DayBegins(u.GetDay())
		if !ok || !from.Before(now) {
			continue
		}
		middle := from.Add(min(24*time.Hour, now.Sub(from)) / 2)
		held := time.Duration(u.GetSlotMilliseconds()) * time.Millisecond
		all[queue{u.GetProject(), u.GetPool()}] += math.Ln2 * float64(held) / float64(halfLife) * counts(now.Sub(middle))
	}
	for _, a := range v.Allocations() {
		j, _ := v.Job(a.GetJobId())
		for _, m := range a.GetMembers() {
			if added := m.GetAddedAt().AsTime(); m.GetAddedAt() != nil && added.Before(now) {
				all[queue{j.GetProject(), state.PoolOf(j)}] += 1 - counts(now.Sub(added))
			}
		}
	}
	return all
}

// counts is what part is left of what was so long ago.
func counts(ago time.Duration) float64 { return math.Exp2(-float64(ago) / float64(halfLife)) }
