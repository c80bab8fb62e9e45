package fsm

import (
	"fmt"
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// versionSaved makes a version of files that are in the store; it says why not, or nothing.
func (a *applier) versionSaved(alloc *tandemv1.Allocation, saved *tandemv1.VersionSaved) string {
	switch {
	case alloc.GetStage() != tandemv1.TrialStage_TRIAL_STAGE_PUBLISH:
		return "this allocation does not publish; end the engine"
	case saved.GetVersionId() != state.VersionID(alloc.GetId()):
		return fmt.Sprintf("allocation %s makes version %s, not %q", alloc.GetId(), state.VersionID(alloc.GetId()), saved.GetVersionId())
	case saved.GetManifestSha256() == "":
		return "a version needs the hash of its manifest"
	}
	if _, ok := a.Version(saved.GetVersionId()); ok {
		return fmt.Sprintf("version %s was published with another manifest", saved.GetVersionId())
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
	also := ""
	if len(aliases) > 0 {
		also = " as " + strings.Join(aliases, ", ")
	}
	a.event(info, "model", m.GetName(), j.GetId(), "Job %s published %s@%d%s.", label(j), m.GetName(), v.GetNumber(), also)
	a.followAliases(m)
	return ""
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
		return refuse(notFound, "model %q is not there; see what is with: tandem model list", c.GetModel())
	}
	if c.GetAlias() == "" {
		return refuse(invalid, "an alias needs a name")
	}
	old, known := state.AliasOf(m, c.GetAlias())
	if c.GetVersion() == 0 {
		return a.removeAlias(m, c.GetAlias(), known)
	}
	if _, ok := a.VersionNumber(m.GetName(), c.GetVersion()); !ok {
		return refuse(notFound, "model %s has no version %d, its newest is %d", m.GetName(), c.GetVersion(), m.GetLatestVersion())
	}
	if known && old.GetVersion() == c.GetVersion() {
		return done(m.GetName())
	}
	m = state.Clone(m)
	a.pointAlias(m, c.GetAlias(), c.GetVersion(), a.actor)
	a.Put(m)
	a.event(info, "model", m.GetName(), "", "Alias %s of model %s was moved to version %d by %s.", c.GetAlias(), m.GetName(), c.GetVersion(), a.who())
	a.followAliases(m)
	return done(m.GetName())
}

func (a *applier) removeAlias(m *tandemv1.Model, alias string, known bool) *tandemv1.Result {
	if !known {
		return refuse(notFound, "model %s has no alias %q", m.GetName(), alias)
	}
	if d, ok := a.Deployment(m.GetName()); ok && d.GetTarget() == alias {
		return refuse(precondition, "deployment %s serves alias %s; serve another version or stop serving first", d.GetName(), alias)
	}
	m = state.Clone(m)
	m.Aliases = slices.DeleteFunc(m.Aliases, func(a *tandemv1.Alias) bool { return a.GetName() == alias })
	a.Put(m)
	a.event(info, "model", m.GetName(), "", "Alias %s of model %s was removed by %s.", alias, m.GetName(), a.who())
	return done(m.GetName())
}
