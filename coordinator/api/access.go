package api

import (
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
