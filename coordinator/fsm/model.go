package fsm

import (
	"fmt"
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// versionSaved makes a version of files that are in the store; it says why not, or nil.
func (a *applier) versionSaved(alloc *tandemv1.Allocation, saved *tandemv1.VersionSaved) *tandemv1.Reason {
	switch {
	case alloc.GetStage() != tandemv1.TrialStage_TRIAL_STAGE_PUBLISH:
		return reason(tandemv1.Reason_CODE_OTHER_STAGE, "stage", "publish")
	case saved.GetVersionId() != state.VersionID(alloc.GetId()):
		return reason(tandemv1.Reason_CODE_WRONG_VERSION, "allocation", alloc.GetId(), "version", state.VersionID(alloc.GetId()), "given", saved.GetVersionId())
	case saved.GetManifestSha256() == "":
		return reason(tandemv1.Reason_CODE_FIELD_MISSING, "noun", "version", "field", "manifest_sha256")
	}
	if _, ok := a.Version(saved.GetVersionId()); ok {
		return reason(tandemv1.Reason_CODE_VERSION_DIFFERS, "version", saved.GetVersionId())
	}
	j, _ := a.Job(alloc.GetJobId())
	checkpoint, _ := a.Checkpoint(alloc.GetResumeCheckpointId())
	m := a.modelToChange(j.GetSpec().GetPublish().GetModel())
	m.LatestVersion++
	v := &tandemv1.Version{
		Id:             saved.GetVersionId(),
		Model:          m.GetName(),
		Number:         m.GetLatestVersion(),
		Prefix:         state.VersionPrefix(saved.GetVersionId()),
		ManifestSha256: saved.GetManifestSha256(),
		Bytes:          saved.GetBytes(),
		Metrics:        saved.GetMetrics(),
		Lineage:        state.LineageOf(&a.View, checkpoint),
		CreatedAt:      a.now,
	}
	a.Put(v)
	aliases := j.GetSpec().GetPublish().GetAliases()
	for _, alias := range aliases {
		a.pointAlias(m, alias, v.GetNumber(), j.GetId())
	}
	a.Put(m)
	j = state.Clone(j)
	j.PublishedVersion = fmt.Sprintf("%s@%d", m.GetName(), v.GetNumber())
	a.Put(j)
	a.record(info, tandemv1.Event_TYPE_VERSION_PUBLISHED, aboutModel(m, j.GetId()), nil, "job_name", label(j), "version", v.GetNumber(), "aliases", strings.Join(aliases, ", "))
	a.followAliases(m)
	return nil
}

// modelToChange returns a copy of a model, or a new one.
func (a *applier) modelToChange(name string) *tandemv1.Model {
	if m, ok := a.Model(name); ok {
		return state.Clone(m)
	}
	return &tandemv1.Model{Name: name, CreatedAt: a.now}
}

// pointAlias points an alias at a version in m, which is the caller's to change.
func (a *applier) pointAlias(m *tandemv1.Model, alias string, version int64, by string) {
	moved := &tandemv1.Alias{Name: alias, Version: version, MovedAt: a.now, MovedBy: by}
	i, known := slices.BinarySearchFunc(m.GetAliases(), alias, func(a *tandemv1.Alias, name string) int {
		return strings.Compare(a.GetName(), name)
	})
	if known {
		m.Aliases[i] = moved
		return
	}
	m.Aliases = slices.Insert(m.Aliases, i, moved)
}

func (a *applier) moveAlias(c *tandemv1.MoveAlias) *tandemv1.Result {
	m, ok := a.Model(c.GetModel())
	if !ok {
		return refuse(notFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "model", "name", c.GetModel())
	}
	if c.GetAlias() == "" {
		return refuse(invalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "alias", "field", "name")
	}
	old, known := state.AliasOf(m, c.GetAlias())
	if c.GetVersion() == 0 {
		return a.removeAlias(m, c.GetAlias(), known)
	}
	if _, ok := a.VersionNumber(m.GetName(), c.GetVersion()); !ok {
		return refuse(notFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "version", c.GetVersion(), "newest", m.GetLatestVersion())
	}
	if known && old.GetVersion() == c.GetVersion() {
		return done(m.GetName())
	}
	m = state.Clone(m)
	a.pointAlias(m, c.GetAlias(), c.GetVersion(), a.actor)
	a.Put(m)
	a.record(info, tandemv1.Event_TYPE_ALIAS_MOVED, aboutModel(m, ""), nil, "alias", c.GetAlias(), "version", c.GetVersion(), "by", a.actor)
	a.followAliases(m)
	return done(m.GetName())
}

func (a *applier) removeAlias(m *tandemv1.Model, alias string, known bool) *tandemv1.Result {
	if !known {
		return refuse(notFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "alias", alias)
	}
	if d, ok := a.Deployment(m.GetName()); ok && d.GetTarget() == alias {
		return refuse(precondition, tandemv1.Reason_CODE_ALIAS_SERVED, "name", d.GetName(), "alias", alias)
	}
	m = state.Clone(m)
	m.Aliases = slices.DeleteFunc(m.Aliases, func(a *tandemv1.Alias) bool { return a.GetName() == alias })
	a.Put(m)
	a.record(info, tandemv1.Event_TYPE_ALIAS_REMOVED, aboutModel(m, ""), nil, "alias", alias, "by", a.actor)
	return done(m.GetName())
}
