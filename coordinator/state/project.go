package state

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// DefaultProject always exists: all that nobody has put elsewhere is in it.
	DefaultProject = "default"
	// AllProjects stands for whatever project there is.
	AllProjects = "*"
)

// Key is what names that are unique within a project are found by. In the default project it is the name: the rows of releases without
// projects stand where they stood. A name has no slash.
func Key(project, name string) string {
	if project == "" || project == DefaultProject || name == "" {
		return name
	}
	return project + "/" + name
}

// SplitKey returns the project and the name of which Key made a key.
func SplitKey(key string) (project, name string) {
	if project, name, ok := strings.Cut(key, "/"); ok {
		return project, name
	}
	return DefaultProject, key
}

// In returns the view of those who work in one project: they see what is in it and what is the cluster's, and nothing of other
// projects, by no name, id or list. With AllProjects, or of no view of In, it is the whole state, in which names of other projects
// than the default one are found by Key.
func (v *View) In(project string) *View {
	if project == AllProjects {
		return v.Whole()
	}
	return &View{txn: v.txn, project: cmp.Or(project, noProject)}
}

// noProject has no name that a project can have: who belongs nowhere sees what is the cluster's.
const noProject = "-"

// Whole returns the view of all projects.
func (v *View) Whole() *View { return &View{txn: v.txn} }

// Project returns a project by name. The default one, where nobody has changed it, has no row and is made up.
func (v *View) Project(name string) (*tandemv1.Project, bool) {
	p, ok := get[*tandemv1.Project](v, projectTable, name)
	if !ok && name == DefaultProject && (v.project == "" || v.project == DefaultProject) {
		return &tandemv1.Project{Name: DefaultProject, Weight: 1}, true
	}
	return p, ok
}

// Projects returns all projects by name.
func Projects(v *View) []*tandemv1.Project {
	rows := all[*tandemv1.Project](v, projectTable)
	i, changed := slices.BinarySearchFunc(rows, DefaultProject, func(p *tandemv1.Project, name string) int {
		return cmp.Compare(p.GetName(), name)
	})
	if p, ok := v.Project(DefaultProject); ok && !changed {
		rows = slices.Insert(rows, i, p)
	}
	return rows
}

// ProjectNeed says why a project cannot be deleted; nil when nothing is in it, and no token belongs to it.
func ProjectNeed(v *View, name string) *tandemv1.Reason {
	in := v.In(name)
	for _, kind := range []struct {
		noun string
		n    int
	}{
		{"job", len(in.Jobs())}, {"dataset", len(in.Datasets())}, {"model", len(in.Models())},
		{"deployment", len(DeploymentRows(in))}, {"token", len(in.AllTokens())},
	} {
		if kind.n > 0 {
			return NewReason(tandemv1.Reason_CODE_PROJECT_NEEDED, "project", name, "noun", kind.noun, "number", strconv.Itoa(kind.n))
		}
	}
	return nil
}

// ReachOf is the project whose things a token gives access to, or AllProjects.
func ReachOf(t *tandemv1.Token) string {
	if t.GetRole() == "admin" {
		return AllProjects
	}
	return cmp.Or(t.GetProject(), DefaultProject)
}

// sees says whether a row is seen. It is asked of each row that leaves the tables, and nothing else decides that.
func (v *View) sees(row proto.Message) bool {
	if v.project == "" {
		return true
	}
	project, of := projectOf(v, row)
	return !of || project == v.project
}

// key is what a name is found by.
func (v *View) key(name string) string { return Key(v.project, name) }

// projectOf is the project that a row belongs to; false when it is the cluster's.
func projectOf(v *View, row proto.Message) (string, bool) {
	switch r := row.(type) {
	case *tandemv1.Job:
		return cmp.Or(r.GetProject(), DefaultProject), true
	case *tandemv1.Trial:
		return projectOfJob(v, r.GetJobId()), true
	case *tandemv1.Allocation:
		return projectOfJob(v, r.GetJobId()), true
	case *tandemv1.Checkpoint:
		return projectOfJob(v, r.GetJobId()), true
	case *tandemv1.Sweep:
		return projectOfJob(v, r.GetId()), true
	case *tandemv1.SweepEvent:
		return projectOfJob(v, r.GetSweepId()), true
	case *tandemv1.RendezvousEntry:
		a, _ := get[*tandemv1.Allocation](v.Whole(), allocationTable, r.GetAllocationId())
		return projectOfJob(v, a.GetJobId()), true
	case *tandemv1.Replica:
		project, _ := SplitKey(r.GetDeployment())
		return project, true
	case *tandemv1.Project:
		return r.GetName(), true
	case *tandemv1.Event:
		return cmp.Or(r.GetProject(), DefaultProject), r.GetProject() != "" || !slices.Contains(clusterNouns, r.GetNoun())
	case interface{ GetProject() string }: // Dataset, Model, Version, Deployment, Token
		return cmp.Or(r.GetProject(), DefaultProject), true
	}
	return "", false
}

// clusterNouns are what events are about that are nobody's alone.
var clusterNouns = []string{"node", "coordinator", "cluster"}

func projectOfJob(v *View, id string) string {
	j, _ := get[*tandemv1.Job](v.Whole(), jobTable, id)
	return cmp.Or(j.GetProject(), DefaultProject)
}
