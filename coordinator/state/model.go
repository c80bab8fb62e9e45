package state

import (
	"strconv"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// DefaultAlias is what a model without version stands for, if it has that alias.
const DefaultAlias = "champion"

// When a publication takes an alias from another version.
const (
	PublishIfBetter = "better"
	PublishAlways   = "always"
)

// Model returns a model by name.
func (v *View) Model(name string) (*tandemv1.Model, bool) {
	return get[*tandemv1.Model](v, modelTable, v.key(name))
}

// Models returns all models by name.
func (v *View) Models() []*tandemv1.Model { return all[*tandemv1.Model](v, modelTable) }

// Version returns a version by id.
func (v *View) Version(id string) (*tandemv1.Version, bool) {
	return get[*tandemv1.Version](v, versionTable, id)
}

// Versions returns all versions by id.
func (v *View) Versions() []*tandemv1.Version { return all[*tandemv1.Version](v, versionTable) }

// VersionsOf returns the versions of a model, oldest first.
func (v *View) VersionsOf(model string) []*tandemv1.Version {
	return list[*tandemv1.Version](v, versionTable, "model_prefix", join(v.key(model), ""))
}

// VersionNumber returns one version of a model.
func (v *View) VersionNumber(model string, n int64) (*tandemv1.Version, bool) {
	rows := list[*tandemv1.Version](v, versionTable, "model", join(v.key(model), number(n)))
	if len(rows) == 0 {
		return nil, false
	}
	return rows[0], true
}

// DefaultTarget is what a model without version stands for: its default alias, or the number of its newest version.
func DefaultTarget(m *tandemv1.Model) string {
	if _, ok := AliasOf(m, DefaultAlias); ok {
		return DefaultAlias
	}
	return strconv.FormatInt(m.GetLatestVersion(), 10)
}

// ResolveVersion finds a version by "name" (DefaultTarget), "name@number", "name@alias", or its id.
// It fails with ErrNotFound.
func (v *View) ResolveVersion(ref string) (*tandemv1.Version, error) {
	if ver, ok := v.Version(ref); ok {
		return ver, nil
	}
	name, target, given := strings.Cut(ref, "@")
	m, ok := v.Model(name)
	if !ok {
		return nil, missing("model", name, near(name, v.Models()))
	}
	if !given {
		target = DefaultTarget(m)
	}
	return v.ResolveTarget(name, target)
}

// ResolveTarget finds the version of a model that a number or an alias stands for. It fails with ErrNotFound.
func (v *View) ResolveTarget(model, target string) (*tandemv1.Version, error) {
	m, ok := v.Model(model)
	if !ok {
		return nil, missing("model", model, near(model, v.Models()))
	}
	n, err := strconv.ParseInt(target, 10, 64)
	if err != nil {
		alias, ok := AliasOf(m, target)
		if !ok {
			return nil, &Unresolved{NewReason(tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", model, "alias", target), ErrNotFound}
		}
		n = alias.GetVersion()
	}
	ver, ok := v.VersionNumber(model, n)
	if !ok {
		return nil, &Unresolved{NewReason(tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", model, "version", target,
			"newest", strconv.FormatInt(m.GetLatestVersion(), 10)), ErrNotFound}
	}
	return ver, nil
}

// Incumbent returns the version that an alias points to, if the publication of a job may only take the alias when its version is better.
func Incumbent(v *View, j *tandemv1.Job, alias string) (*tandemv1.Version, bool) {
	p := j.GetSpec().GetPublish()
	m, ok := v.Model(Key(j.GetProject(), p.GetModel()))
	if !ok || p.GetIf() != PublishIfBetter {
		return nil, false
	}
	points, ok := AliasOf(m, alias)
	if !ok {
		return nil, false
	}
	return v.VersionNumber(RowID(m), points.GetVersion())
}

// MetricsOf returns the metrics of a version on one split, by their names without its prefix: "test_" or "validation_".
func MetricsOf(all map[string]float64, split string) map[string]float64 {
	of := map[string]float64{}
	for name, value := range all {
		if name, ok := strings.CutPrefix(name, split); ok {
			of[name] = value
		}
	}
	return of
}

// AliasOf returns an alias of a model.
func AliasOf(m *tandemv1.Model, name string) (*tandemv1.Alias, bool) {
	for _, a := range m.GetAliases() {
		if a.GetName() == name {
			return a, true
		}
	}
	return nil, false
}

// VersionNeed says why a version cannot be deleted; nil when it is not served and no alias points to it.
func VersionNeed(v *View, ver *tandemv1.Version) *tandemv1.Reason {
	served, key := false, Key(ver.GetProject(), ver.GetModel())
	v = v.Whole()
	if d, ok := v.Deployment(key); ok {
		served = d.GetVersionId() == ver.GetId()
	}
	for _, r := range v.ReplicasOf(key) { // a rollout keeps those of the version before for a while
		served = served || r.GetVersionId() == ver.GetId() && ReplicaLive(r.GetState())
	}
	if served {
		return NewReason(tandemv1.Reason_CODE_VERSION_SERVED)
	}
	m, _ := v.Model(key)
	for _, alias := range m.GetAliases() {
		if alias.GetVersion() == ver.GetNumber() {
			return NewReason(tandemv1.Reason_CODE_VERSION_ALIASED, "model", m.GetName(), "alias", alias.GetName())
		}
	}
	return nil
}

// ModelNeed says why a model cannot be deleted, beside its versions; nil when no job that has not ended publishes to it.
func ModelNeed(v *View, m *tandemv1.Model) *tandemv1.Reason {
	for _, j := range v.Jobs() {
		if !JobFinal(j.GetState()) && j.GetProject() == m.GetProject() && j.GetSpec().GetPublish().GetModel() == m.GetName() {
			return NewReason(tandemv1.Reason_CODE_MODEL_PUBLISHED, "job", j.GetId())
		}
	}
	return nil
}
