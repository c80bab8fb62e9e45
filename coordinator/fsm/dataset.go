package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) createDataset(c *tandemv1.CreateDataset) *tandemv1.Result {
	want := c.GetDataset()
	if want.GetId() == "" || want.GetName() == "" || want.GetPrefix() == "" {
		return refuse(invalid, "a dataset needs an id, a name and the prefix of its objects")
	}
	if _, ok := a.Dataset(want.GetId()); ok {
		return refuse(exists, "dataset %s is committed already; upload the files again under a new id", want.GetId())
	}
	d := state.Clone(want)
	d.Version = 1
	if versions := a.DatasetsOf(d.GetName()); len(versions) > 0 {
		d.Version = versions[len(versions)-1].GetVersion() + 1
	}
	d.CreatedAt = a.now
	if d.GetCreatedBy() == "" {
		d.CreatedBy = a.actor
	}
	a.Put(d)
	a.event(info, "dataset", d.GetId(), "", "Dataset %s@%d was created.", d.GetName(), d.GetVersion())
	return done(d.GetId())
}
