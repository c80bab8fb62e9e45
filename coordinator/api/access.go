package api

import (
	"cmp"
	"context"
	"strings"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Who may call a procedure, as it stands at the procedure (option.proto).
const (
	open        = tandemv1.Access_ACCESS_OPEN
	viewer      = tandemv1.Access_ACCESS_VIEWER
	user        = tandemv1.Access_ACCESS_USER
	admin       = tandemv1.Access_ACCESS_ADMIN
	worker      = tandemv1.Access_ACCESS_WORKER
	coordinator = tandemv1.Access_ACCESS_COORDINATOR
	operator    = tandemv1.Access_ACCESS_OPERATOR
)

// in says which project a call is in: the one that its header names (state.AllProjects: all), else the one of the token, else the
// default one. One that does not exist, and one that the token gives no access to, are the same to the caller.
func (a *API) in(ctx context.Context, p Principal, said string) (string, error) {
	switch {
	case said == "" && p.Reach == state.AllProjects && p.Node == "":
		return state.DefaultProject, nil
	case said == "" || said == p.Reach:
		return p.Reach, nil
	case p.Reach != state.AllProjects:
		return "", state.Missing("project", said)
	}
	if _, ok := a.deps.State.View().Project(said); ok {
		return said, nil
	}
	v, err := a.deps.Consensus.View(ctx) // it may have been made a moment ago on another coordinator
	if err != nil {
		return "", err
	}
	if _, ok := v.Project(said); !ok {
		return "", state.Missing("project", said)
	}
	return said, nil
}

// view is the state as it is, as the caller sees it: from the project that the call is in.
func (a *API) view(ctx context.Context) (*state.View, error) {
	v, err := a.deps.Consensus.View(ctx)
	if err != nil {
		return nil, err
	}
	return v.In(From(ctx).Project), nil
}

// now is the state that this coordinator has, as the caller sees it.
func (a *API) now(ctx context.Context) *state.View {
	return a.deps.State.View().In(From(ctx).Project)
}

// errNowhere refuses to make something without saying where.
var errNowhere = invalid("project: a call in all projects makes nothing: name the one that it is to be in")

// madeIn is the project in which a call makes something, and what is seen from there: the one that it names itself, else the one it is in.
func (a *API) madeIn(ctx context.Context, v *state.View, said string) (*state.View, string, error) {
	p := From(ctx)
	project := cmp.Or(said, p.Project)
	switch {
	case project == state.AllProjects:
		return nil, "", errNowhere
	case p.Reach != state.AllProjects && project != p.Reach:
		return nil, "", state.Missing("project", project)
	}
	v = v.In(project)
	if _, ok := v.Project(project); !ok {
		return nil, "", state.Missing("project", project)
	}
	return v, project, nil
}

// named is the project and the name that a command gets for a name that the caller gave. The default project is left out, for
// coordinators that know no other.
func named(ctx context.Context, noun, said string) (project, name string, err error) {
	switch project = From(ctx).Project; {
	case project == state.AllProjects:
		project, name = state.SplitKey(said)
	case strings.Contains(said, "/"):
		return "", "", state.Missing(noun, said)
	default:
		name = said
	}
	if project == state.DefaultProject {
		project = ""
	}
	return project, name, nil
}

// may tells whether p may call what has this access.
func (p Principal) may(a tandemv1.Access) bool {
	switch a {
	case open:
		return true
	case viewer:
		return p.Role == "viewer" || p.Role == "user" || p.Role == "admin"
	case user:
		return p.Role == "user" || p.Role == "admin"
	case admin:
		return p.Role == "admin"
	case worker:
		return p.Role == string(identity.RoleWorker)
	case coordinator:
		return p.Role == string(identity.RoleCoordinator)
	case operator:
		return p.may(admin) || p.may(coordinator)
	}
	return false
}
