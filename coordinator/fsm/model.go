package fsm

import (
	"fmt"
	"strings"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
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
		Prefix:         layout.Version(saved.GetVersionId()),
		ManifestSha256: saved.GetManifestSha256(),
		Bytes:          saved.GetBytes(),
		Metrics:        saved.GetMetrics(),
		Lineage:        state.LineageOf(&a.View, checkpoint),
		CreatedAt:      a.now,
	}
	a.Put(v)
	j = state.Clone(j)
	j.PublishedVersion = fmt.Sprintf("%s@%d", m.GetName(), v.GetNumber())
	aliases := a.takeAliases(j, m, v, saved.GetIncumbents())
	a.Put(m)
	a.Put(j)
	a.record(info, tandemv1.Event_TYPE_VERSION_PUBLISHED, aboutModel(m, j.GetId()), nil, "job_name", label(j), "version", v.GetNumber(), "aliases", strings.Join(aliases, ", "))
	for _, kept := range j.GetAliasesKept() {
		a.record(warning, tandemv1.Event_TYPE_ALIAS_KEPT, aboutModel(m, j.GetId()), kept.GetWhy())
	}
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
