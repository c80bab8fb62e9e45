package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// EventFilter says which events are wanted; the zero value wants all.
type EventFilter struct {
	Job    string                     // of this job only
	After  string                     // after the event with this id only
	Before string                     // before the event with this id only; empty: up to the newest
	Wanted func(*tandemv1.Event) bool // nil: all
}

// Events returns the newest events, oldest first; limit 0 means all.
func (v *View) Events(limit int) []*tandemv1.Event { return v.EventsLike(EventFilter{}, limit) }

// EventsOf returns the newest events of a job, oldest first; limit 0 means all.
func (v *View) EventsOf(job string, limit int) []*tandemv1.Event {
	return v.EventsLike(EventFilter{Job: job}, limit)
}

// EventsLike returns the newest events that a filter wants, oldest first; limit 0 means all.
func (v *View) EventsLike(f EventFilter, limit int) []*tandemv1.Event {
	index, key := "id_prefix", ""
	if f.Job != "" {
		index, key = "job", f.Job
	}
	it, err := v.txn.GetReverse(eventTable, index, key)
	if err != nil {
		return nil
	}
	var rows []*tandemv1.Event
	for raw := it.Next(); raw != nil && (limit <= 0 || len(rows) < limit); raw = it.Next() {
		e := raw.(*tandemv1.Event)
		if e.GetId() <= f.After {
			break // ids are in the order in which things happened
		}
		if (f.Before == "" || e.GetId() < f.Before) && (f.Wanted == nil || f.Wanted(e)) && v.sees(e) {
			rows = append(rows, e)
		}
	}
	return newestFirst(rows)
}

// FirstEvent returns the oldest event.
func (v *View) FirstEvent() (*tandemv1.Event, bool) {
	return firstOf[*tandemv1.Event](v, eventTable, "id_prefix", "")
}
