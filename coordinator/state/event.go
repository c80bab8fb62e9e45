package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// Events returns the newest events, oldest first; limit 0 means all.
func (v *View) Events(limit int) []*tandemv1.Event {
	return newestEvents(v, "id_prefix", "", limit)
}

// EventsOf returns the newest events of a job, oldest first; limit 0 means all.
func (v *View) EventsOf(job string, limit int) []*tandemv1.Event {
	return newestEvents(v, "job", job, limit)
}

func newestEvents(v *View, index, key string, limit int) []*tandemv1.Event {
	it, err := v.txn.GetReverse(eventTable, index, key)
	if err != nil {
		return nil
	}
	var rows []*tandemv1.Event
	for raw := it.Next(); raw != nil && (limit <= 0 || len(rows) < limit); raw = it.Next() {
		rows = append(rows, raw.(*tandemv1.Event))
	}
	return newestFirst(rows)
}
