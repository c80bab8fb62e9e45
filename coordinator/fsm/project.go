package fsm

import (
	"math"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// projectLevel is the feature level from which on there are other projects than the default one. Before, all is in that, whatever a
// command says: coordinators that know no other put it there.
const projectLevel = 2

// maxWeight is how much more than others a project may be given: more is a slip of the keyboard.
const maxWeight = 1e6

// projectFor is the project of what a command makes: the one that it says.
func projectFor(a sight, said string) (string, *refusal) {
	if a.Level() < projectLevel || said == "" {
		return state.DefaultProject, nil
	}
	if _, ok := a.Project(said); !ok {
		return "", refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "project", "name", said)
	}
	return said, nil
}

// tokenProject is projectFor of a token, which may have all.
func tokenProject(a sight, said string) (string, *refusal) {
	if a.Level() >= projectLevel && said == state.AllProjects {
		return said, nil
	}
	return projectFor(a, said)
}

func createProject(a *applier, c *tandemv1.CreateProject) (*tandemv1.Result, *refusal) {
	want := c.GetProject()
	if want.GetName() == "" {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "project", "field", "name")
	}
	if _, ok := a.Project(want.GetName()); ok {
		return nil, refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "project", "name", want.GetName())
	}
	p := &tandemv1.Project{Name: want.GetName(), Description: want.GetDescription(), Weight: want.GetWeight(), CreatedAt: a.now}
	if p.GetWeight() == 0 {
		p.Weight = 1
	}
	if no := checkWeight(p.GetWeight()); no != nil {
		return nil, no
	}
	a.Put(p)
	a.record(infoLevel, tandemv1.Event_TYPE_PROJECT_CREATED, aboutProject(p.GetName()), nil, "weight", p.GetWeight(), "by", a.actor)
	return done(p.GetName()), nil
}

func setProject(a *applier, c *tandemv1.SetProject) (*tandemv1.Result, *refusal) {
	old, ok := a.Project(c.GetName())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "project", "name", c.GetName())
	}
	p := state.Clone(old)
	if c.Description != nil {
		p.Description = c.GetDescription()
	}
	if c.Weight != nil {
		p.Weight = c.GetWeight()
	}
	if no := checkWeight(p.GetWeight()); no != nil {
		return nil, no
	}
	if p.GetCreatedAt() == nil { // the default one has a row from now on
		p.CreatedAt = a.now
	}
	a.Put(p)
	a.record(infoLevel, tandemv1.Event_TYPE_PROJECT_CHANGED, aboutProject(p.GetName()), nil, "weight", p.GetWeight(), "by", a.actor)
	return done(p.GetName()), nil
}

func deleteProject(a *applier, c *tandemv1.DeleteProject) (*tandemv1.Result, *refusal) {
	p, ok := a.Project(c.GetName())
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "project", "name", c.GetName())
	case p.GetName() == state.DefaultProject:
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_PROJECT_STAYS, "project", p.GetName())
	}
	if need := state.ProjectNeed(a.View, p.GetName()); need != nil {
		return nil, &refusal{codePrecondition, need}
	}
	a.Delete(p)
	a.record(infoLevel, tandemv1.Event_TYPE_PROJECT_DELETED, aboutProject(p.GetName()), nil, "by", a.actor)
	return done(p.GetName()), nil
}

func checkWeight(weight float64) *refusal {
	if weight > 0 && weight <= maxWeight && !math.IsNaN(weight) {
		return nil
	}
	return refuse(codeInvalid, tandemv1.Reason_CODE_OUT_OF_RANGE, "noun", "project", "field", "weight",
		"min", "more than 0", "max", int64(maxWeight), "given", weight)
}
