package state

import (
	"strings"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// UsageOf returns the slots in use on one node: slot id -> identity of the engine that holds it. A member
// holds its slot until it is removed from its allocation, or that is; a replica until it fails or is removed.
func UsageOf(v *View, nodeID string) map[string]string {
	held := map[string]string{}
	for _, a := range v.AllocationsOf(nodeID) {
		for _, m := range a.GetMembers() {
			if m.GetNodeId() == nodeID {
				held[m.GetSlotId()] = EngineID(a.GetId(), m.GetNumber())
			}
		}
	}
	for _, r := range v.ReplicasOn(nodeID) {
		if ReplicaLive(r.GetState()) {
			held[r.GetSlotId()] = r.GetId()
		}
	}
	return held
}

// HasSlot says whether a node offers a slot.
func HasSlot(n *tandemv1.Node, slot string) bool {
	for _, s := range n.GetSlots() {
		if s.GetId() == slot {
			return true
		}
	}
	return false
}

// UsageDays is for how many days it is known how long slots were held.
const UsageDays = 100

// UsageID is the identity of a row: all of a day stand together, and days in order.
func UsageID(u *tandemv1.Usage) string {
	return strings.Join([]string{u.GetDay(), u.GetPool(), u.GetProject(), u.GetUser()}, "/")
}

// UsageRow returns for how long slots were held; nil, which is no time at all, where there is no row.
func UsageRow(v *View, id string) *tandemv1.Usage {
	u, _ := get[*tandemv1.Usage](v, usageTable, id)
	return u
}

// Usages returns for how long slots were held, by day.
func Usages(v *View) []*tandemv1.Usage { return all[*tandemv1.Usage](v, usageTable) }

// DayOf is the day of a time as rows of usage say it.
func DayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// DayBegins is when a day of a row begins; false: it is none.
func DayBegins(day string) (time.Time, bool) {
	t, err := time.Parse(time.DateOnly, day)
	return t, err == nil
}

// usageLevel is the feature level from which on it is kept for how long slots were held.
const usageLevel = 2

// AddUsage adds the time that members of an allocation have held slots to that of the days on which it was. Whole milliseconds are added,
// so that all coordinators come to the same; how much of it counts, and for how long, is for whoever reads it.
func (t *Tx) AddUsage(jobID string, members []*tandemv1.Member, now time.Time) {
	job, ok := t.Job(jobID)
	if t.Level() < usageLevel || !ok {
		return
	}
	for _, m := range members {
		if m.GetAddedAt() == nil {
			continue
		}
		from := m.GetAddedAt().AsTime()
		if earliest := now.AddDate(0, 0, -UsageDays); from.Before(earliest) {
			from = earliest
		}
		for from.Before(now) {
			until := from.Truncate(24 * time.Hour).Add(24 * time.Hour)
			if until.After(now) {
				until = now
			}
			addUsage(t, job, from, until.Sub(from), now)
			from = until
		}
	}
}

func addUsage(t *Tx, job *tandemv1.Job, day time.Time, held time.Duration, now time.Time) {
	u := &tandemv1.Usage{Day: DayOf(day), Pool: PoolOf(job), Project: job.GetProject(), User: job.GetSubmittedBy()}
	u.Id = UsageID(u)
	old := UsageRow(&t.View, u.GetId())
	if old == nil {
		forgetUsage(t, DayOf(now.AddDate(0, 0, -UsageDays)))
	}
	u.SlotMilliseconds = old.GetSlotMilliseconds() + held.Milliseconds()
	t.Put(u)
}

// forgetUsage deletes the rows of days before one.
func forgetUsage(t *Tx, day string) {
	for _, u := range Usages(&t.View) {
		if u.GetDay() >= day {
			break
		}
		t.Delete(u)
	}
}
