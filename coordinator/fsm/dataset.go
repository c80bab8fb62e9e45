package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) createDataset(c *tandemv1.CreateDataset) *tandemv1.Result {
	want := c.GetDataset()
	if field := missing("id", want.GetId(), "name", want.GetName(), "prefix", want.GetPrefix()); field != "" {
		return refuse(invalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "dataset", "field", field)
	}
	if _, ok := a.Dataset(want.GetId()); ok {
		return refuse(exists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "dataset", "name", want.GetId())
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
	a.record(info, tandemv1.Event_TYPE_DATASET_CREATED, subject{noun: "dataset", id: d.GetId(), name: d.GetName()}, nil, "version", d.GetVersion())
	return done(d.GetId())
}
