package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) createCluster(c *tandemv1.CreateCluster) *tandemv1.Result {
	want := c.GetCluster()
	if want.GetId() == "" {
		return refuse(invalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "cluster", "field", "id")
	}
	if there, ok := a.Cluster(); ok {
		if there.GetId() == want.GetId() {
			return done(there.GetId())
		}
		return refuse(exists, tandemv1.Reason_CODE_CLUSTER_EXISTS, "cluster", there.GetId())
	}
	a.Put(state.Clone(want))
	return done(want.GetId())
}
