package fsm

import (
	"fmt"
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
)

func (a *applier) createDataset(c *tandemv1.CreateDataset) (*tandemv1.Result, *refusal) {
	want := c.GetDataset()
	if field := missing("id", want.GetId(), "name", want.GetName(), "prefix", want.GetPrefix()); field != "" {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "dataset", "field", field)
	}
	if _, ok := a.Dataset(want.GetId()); ok {
		return nil, refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "dataset", "name", want.GetId())
	}
	if a.GarbageBelow(layout.Datasets(want.GetId())) {
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_DATASET_GONE, "dataset", want.GetId())
	}
	project, no := projectFor(a.sight, want.GetProject())
	if no != nil {
		return nil, no
	}
	d := state.Clone(want)
	d.Project = project
	key := state.Key(project, d.GetName())
	newest := int64(0)
	if versions := a.DatasetsOf(key); len(versions) > 0 {
		newest = versions[len(versions)-1].GetVersion()
	}
	d.Version = a.nextNumber("dataset", key, newest)
	d.CreatedAt = a.now
	if d.GetCreatedBy() == "" {
		d.CreatedBy = a.actor
	}
	a.Put(d)
	a.record(infoLevel, tandemv1.Event_TYPE_DATASET_CREATED, aboutDataset(d), nil, "version", d.GetVersion())
	return done(d.GetId()), nil
}

// deleteDataset deletes a version, or all, when nothing needs any of them.
func (a *applier) deleteDataset(c *tandemv1.DeleteDataset) (*tandemv1.Result, *refusal) {
	key := state.Key(c.GetProject(), c.GetName())
	going := slices.DeleteFunc(a.DatasetsOf(key), func(d *tandemv1.Dataset) bool {
		return c.GetVersion() != 0 && d.GetVersion() != c.GetVersion()
	})
	if len(going) == 0 {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "dataset", "name", c.GetName())
	}
	for _, d := range going {
		if need := state.DatasetNeed(a.View, d); need != nil {
			return nil, refuseFrom(need, tandemv1.Reason_CODE_DATASET_NEEDED, "dataset", fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion()))
		}
	}
	for _, d := range going {
		a.throwAway(d.GetPrefix() + "/")
		a.useUp("dataset", key, d.GetVersion())
		a.Delete(d)
	}
	if c.GetVersion() != 0 {
		a.record(infoLevel, tandemv1.Event_TYPE_DATASET_DELETED, aboutDataset(going[0]), nil, "version", c.GetVersion(), "by", a.actor)
	} else {
		a.record(infoLevel, tandemv1.Event_TYPE_DATASET_DELETED, aboutDataset(going[0]), nil, "versions", len(going), "by", a.actor)
	}
	return done(c.GetName()), nil
}
