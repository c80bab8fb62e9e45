package fsm

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) createCluster(c *tandemv1.CreateCluster) (*tandemv1.Result, *refusal) {
	want := c.GetCluster()
	if want.GetId() == "" {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "cluster", "field", "id")
	}
	if there, ok := a.Cluster(); ok {
		if there.GetId() == want.GetId() {
			return done(there.GetId()), nil
		}
		return nil, refuse(codeExists, tandemv1.Reason_CODE_CLUSTER_EXISTS, "cluster", there.GetId())
	}
	a.Put(state.Clone(want))
	return done(want.GetId()), nil
}

// putStorage changes how the store is reached.
func (a *applier) putStorage(c *tandemv1.PutStorage) (*tandemv1.Result, *refusal) {
	old, ok := a.Cluster()
	want := c.GetStorage()
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "cluster", "name", "")
	case want.GetBucket() != old.GetStorage().GetBucket() || want.GetPrefix() != old.GetStorage().GetPrefix():
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_STORE_MOVED)
	}
	now := a.editCluster(func(row *tandemv1.Cluster) { row.Storage = want })
	a.record(infoLevel, tandemv1.Event_TYPE_STORE_CHANGED, aboutStore(now), nil,
		"endpoint", want.GetEndpoint(), "access_key", want.GetAccessKey(), "by", a.actor)
	return done(now.GetId()), nil
}

func aboutStore(c *tandemv1.Cluster) subject {
	return subject{noun: "cluster", id: c.GetId(), name: "store"}
}

// observeStore notes what is wrong with the store, and says so when it is something else than before.
func (a *applier) observeStore(c *tandemv1.ObserveStore) (*tandemv1.Result, *refusal) {
	old, ok := a.Cluster()
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "cluster", "name", "")
	}
	fault := c.GetFault()
	if fault.GetCode() == old.GetStoreFault().GetCode() {
		return done(old.GetId()), nil
	}
	now := a.editCluster(func(row *tandemv1.Cluster) { row.StoreFault = fault })
	if fault == nil {
		a.record(infoLevel, tandemv1.Event_TYPE_STORE_SERVES, aboutStore(now), nil)
	} else {
		a.record(warningLevel, tandemv1.Event_TYPE_STORE_FAULT, aboutStore(now), fault)
	}
	return done(now.GetId()), nil
}

// setRetention changes for how long the cluster keeps what is over. The leader's loop gc does what follows from it.
func (a *applier) setRetention(c *tandemv1.SetRetention) (*tandemv1.Result, *refusal) {
	if _, ok := a.Cluster(); !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "cluster", "name", "")
	}
	now := a.editCluster(func(row *tandemv1.Cluster) { row.Retention = c.GetRetention() })
	kept := func(d *durationpb.Duration) string {
		if d == nil {
			return ""
		}
		return state.Arg(d.AsDuration())
	}
	p := now.GetRetention()
	a.record(infoLevel, tandemv1.Event_TYPE_RETENTION_CHANGED, subject{noun: "cluster", id: now.GetId(), name: "retention"}, nil,
		"jobs", kept(p.GetJobs()), "events", kept(p.GetEvents()), "logs", kept(p.GetLogs()), "by", a.actor)
	return done(now.GetId()), nil
}
