package fsm

import (
	"fmt"
	"strings"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
)

// versionSaved makes a version of files that are in the store; it says why not, or nil.
func (a *applier) versionSaved(alloc *tandemv1.Allocation, saved *tandemv1.VersionSaved) *refusal {
	switch {
	case !kind.StageOf(alloc).Publishes:
		return refuse(codeInvalid, tandemv1.Reason_CODE_OTHER_STAGE, "stage", "publish")
	case saved.GetVersionId() != state.VersionID(alloc.GetId()):
		return refuse(codeInvalid, tandemv1.Reason_CODE_WRONG_VERSION, "allocation", alloc.GetId(), "version", state.VersionID(alloc.GetId()), "given", saved.GetVersionId())
	case saved.GetManifestSha256() == "":
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "version", "field", "manifest_sha256")
	}
	if _, ok := a.Version(saved.GetVersionId()); ok {
		return refuse(codeExists, tandemv1.Reason_CODE_VERSION_DIFFERS, "version", saved.GetVersionId())
	}
	if _, deleted := a.GarbageAt(layout.Version(saved.GetVersionId()) + "/"); deleted {
		return nil // somebody has deleted it since it was reported first
	}
	j, _ := a.Job(alloc.GetJobId())
	checkpoint, _ := a.Checkpoint(alloc.GetResumeCheckpointId())
	m := a.newestVersion(j.GetSpec().GetPublish().GetModel(), j.GetProject())
	v := &tandemv1.Version{
		Id:             saved.GetVersionId(),
		Model:          m.GetName(),
		Project:        m.GetProject(),
		Number:         m.GetLatestVersion(),
		Prefix:         layout.Version(saved.GetVersionId()),
		ManifestSha256: saved.GetManifestSha256(),
		Bytes:          saved.GetBytes(),
		Metrics:        saved.GetMetrics(),
		Lineage:        state.LineageOf(a.View, checkpoint),
		CreatedAt:      a.now,
	}
	a.Put(v)
	aliases, kept := a.takeAliases(j, v, saved.GetIncumbents())
	j = edit(a, a.Job, j.GetId(), func(j *tandemv1.Job) {
		j.PublishedVersion = fmt.Sprintf("%s@%d", m.GetName(), v.GetNumber())
		j.AliasesKept = append(j.AliasesKept, kept...)
	})
	a.record(infoLevel, tandemv1.Event_TYPE_VERSION_PUBLISHED, aboutModel(m, j.GetId()), nil, "job_name", label(j), "version", v.GetNumber(), "aliases", strings.Join(aliases, ", "))
	for _, kept := range j.GetAliasesKept() {
		a.record(warningLevel, tandemv1.Event_TYPE_ALIAS_KEPT, aboutModel(m, j.GetId()), kept.GetWhy())
	}
	a.followAliases(state.RowID(m))
	return nil
}

// newestVersion gives a model, which is made when there is none, the number of its next version.
func (a *applier) newestVersion(name, project string) *tandemv1.Model {
	key := state.Key(project, name)
	if _, ok := a.Model(key); !ok {
		a.Put(&tandemv1.Model{Name: name, Project: project, CreatedAt: a.now})
	}
	return edit(a, a.Model, key, func(m *tandemv1.Model) { m.LatestVersion = a.nextNumber("model", key, m.GetLatestVersion()) })
}

// deleteModel deletes a version, or all, when nothing needs any of them; the model goes with the last one.
func (a *applier) deleteModel(c *tandemv1.DeleteModel) (*tandemv1.Result, *refusal) {
	m, ok := a.Model(state.Key(c.GetProject(), c.GetModel()))
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "model", "name", c.GetModel())
	}
	key := state.RowID(m)
	all := a.VersionsOf(key)
	going := all
	if c.GetVersion() != 0 {
		v, ok := a.VersionNumber(key, c.GetVersion())
		if !ok {
			return nil, refuse(codeNotFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "version", c.GetVersion(), "newest", m.GetLatestVersion())
		}
		going = []*tandemv1.Version{v}
	} else if need := state.ModelNeed(a.View, m); need != nil {
		return nil, refuseFrom(need, tandemv1.Reason_CODE_MODEL_NEEDED, "model", m.GetName())
	}
	for _, v := range going {
		if need := state.VersionNeed(a.View, v); need != nil {
			return nil, refuseFrom(need, tandemv1.Reason_CODE_VERSION_NEEDED, "model", m.GetName(), "version", v.GetNumber())
		}
	}
	for _, v := range going {
		a.throwAway(v.GetPrefix() + "/")
		a.useUp("model", key, v.GetNumber())
		a.Delete(v)
	}
	about := aboutModel(m, "")
	if left := a.VersionsOf(key); len(left) > 0 {
		edit(a, a.Model, key, func(m *tandemv1.Model) { m.LatestVersion = left[len(left)-1].GetNumber() })
		a.record(infoLevel, tandemv1.Event_TYPE_MODEL_DELETED, about, nil, "version", c.GetVersion(), "by", a.actor)
		return done(m.GetName()), nil
	}
	a.Delete(m)
	a.record(infoLevel, tandemv1.Event_TYPE_MODEL_DELETED, about, nil, "versions", len(going), "by", a.actor)
	return done(m.GetName()), nil
}
