package fsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// quarantineLevel is the feature level from which on a quarantine leaves a row and an event. Before, coordinators that do not
// know the command skip it, and those that do must not differ from them.
const quarantineLevel = 2

func (a *applier) announceProgram(c *tandemv1.AnnounceProgram) (*tandemv1.Result, *refusal) {
	want := c.GetProgram()
	if want.GetId() == "" || want.GetLevel() < schema.Base {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "field", "level", "noun", "coordinator")
	}
	if removed, ok := a.RemovedNode(want.GetId()); ok {
		return nil, &refusal{codePrecondition, state.WhyRemoved(removed)}
	}
	row := state.Clone(want)
	old, known := a.Program(want.GetId())
	row.ModifiedIndex = old.GetModifiedIndex()
	if known && proto.Equal(row, old) {
		return done(want.GetId()), nil
	}
	a.Put(row)
	a.record(infoLevel, tandemv1.Event_TYPE_COORDINATOR_VERSION, aboutCoordinator(want.GetId()), nil,
		"version", want.GetVersion(), "level", want.GetLevel())
	return done(want.GetId()), nil
}

// raiseLevel raises the cluster's level by one. The leader has seen that all voters know it; one that does not ends here, before
// something comes that it would misread.
func (a *applier) raiseLevel(c *tandemv1.RaiseLevel) (*tandemv1.Result, error) {
	row, ok := a.Cluster()
	switch level := int(c.GetLevel()); {
	case !ok:
		return answered(nil, refuse(codePrecondition, tandemv1.Reason_CODE_NO_CLUSTER)), nil
	case level <= a.Level():
		return done(row.GetId()), nil
	case level > a.Level()+1:
		return answered(nil, refuse(codePrecondition, tandemv1.Reason_CODE_LEVEL_NOT_NEXT, "current", a.Level())), nil
	case level > schema.Known:
		return nil, fmt.Errorf("%w: it knows feature level %d, and the cluster goes to %d", format.ErrLevel, schema.Known, level)
	}
	row = a.editCluster(func(row *tandemv1.Cluster) { row.Level = c.GetLevel() })
	a.record(infoLevel, tandemv1.Event_TYPE_LEVEL_RAISED, subject{noun: "cluster", id: row.GetId()}, nil, "level", row.GetLevel())
	return done(row.GetId()), nil
}

// quarantine notes that an entry is skipped.
func (a *applier) quarantine(c *tandemv1.Quarantine) (*tandemv1.Result, *refusal) {
	if a.Level() < quarantineLevel {
		return done(""), nil
	}
	id := fmt.Sprintf("%020d", a.tx.Index())
	a.Put(&tandemv1.QuarantinedEntry{Id: id, Index: a.tx.Index(), Sha256: c.GetSha256(), Time: a.now})
	a.record(warningLevel, tandemv1.Event_TYPE_ENTRY_QUARANTINED, subject{noun: "cluster"}, nil, "index", a.tx.Index(), "sha256", c.GetSha256())
	return done(id), nil
}
