package fsm

import (
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// takeAliases points the aliases of a job's spec at the version that it published, and returns their names. Those that stay where they
// are, for the version there is as good, are returned as kept.
func (a *applier) takeAliases(j *tandemv1.Job, v *tandemv1.Version, measured []*tandemv1.IncumbentMeasured) (taken []string, kept []*tandemv1.AliasKept) {
	for _, alias := range j.GetSpec().GetPublish().GetAliases() {
		if incumbent, ok := state.Incumbent(a.View, j, alias); ok {
			if why := state.AliasStays(a.View, alias, incumbent, v, measured); why != nil {
				kept = append(kept, &tandemv1.AliasKept{Alias: alias, Version: incumbent.GetNumber(), Why: why})
				continue
			}
		}
		taken = append(taken, alias)
	}
	edit(a, a.Model, state.Key(v.GetProject(), v.GetModel()), func(m *tandemv1.Model) {
		for _, alias := range taken {
			a.pointAlias(m, alias, v.GetNumber(), j.GetId())
		}
	})
	return taken, kept
}

// pointAlias points an alias at a version in m, which is the caller's to change.
func (a sight) pointAlias(m *tandemv1.Model, alias string, version int64, by string) {
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

func (a *applier) moveAlias(c *tandemv1.MoveAlias) (*tandemv1.Result, *refusal) {
	m, ok := a.Model(state.Key(c.GetProject(), c.GetModel()))
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "model", "name", c.GetModel())
	}
	if c.GetAlias() == "" {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "alias", "field", "name")
	}
	old, known := state.AliasOf(m, c.GetAlias())
	if c.GetVersion() == 0 {
		return a.removeAlias(m, c.GetAlias(), known)
	}
	if _, ok := a.VersionNumber(state.RowID(m), c.GetVersion()); !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "version", c.GetVersion(), "newest", m.GetLatestVersion())
	}
	if known && old.GetVersion() == c.GetVersion() {
		return done(m.GetName()), nil
	}
	edit(a, a.Model, state.RowID(m), func(m *tandemv1.Model) { a.pointAlias(m, c.GetAlias(), c.GetVersion(), a.actor) })
	a.record(infoLevel, tandemv1.Event_TYPE_ALIAS_MOVED, aboutModel(m, ""), nil, "alias", c.GetAlias(), "version", c.GetVersion(), "by", a.actor)
	a.followAliases(state.RowID(m))
	return done(m.GetName()), nil
}

func (a *applier) removeAlias(m *tandemv1.Model, alias string, known bool) (*tandemv1.Result, *refusal) {
	if !known {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "alias", alias)
	}
	if d, ok := a.Deployment(state.RowID(m)); ok && d.GetTarget() == alias {
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_ALIAS_SERVED, "name", d.GetName(), "alias", alias)
	}
	edit(a, a.Model, state.RowID(m), func(m *tandemv1.Model) {
		m.Aliases = slices.DeleteFunc(m.Aliases, func(a *tandemv1.Alias) bool { return a.GetName() == alias })
	})
	a.record(infoLevel, tandemv1.Event_TYPE_ALIAS_REMOVED, aboutModel(m, ""), nil, "alias", alias, "by", a.actor)
	return done(m.GetName()), nil
}
