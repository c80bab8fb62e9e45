package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// Request returns what a client's request gave when it was applied.
func (v *View) Request(id string) (*tandemv1.RequestRecord, bool) {
	return get[*tandemv1.RequestRecord](v, requestTable, id)
}

// Requests returns all remembered requests by id.
func (v *View) Requests() []*tandemv1.RequestRecord {
	return all[*tandemv1.RequestRecord](v, requestTable)
}
