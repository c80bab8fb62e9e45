package state

import (
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Coordinators returns what the leader saw last of the coordinators, by id.
func (v *View) Coordinators() []*tandemv1.Coordinator {
	return all[*tandemv1.Coordinator](v, coordinatorTable)
}

// Coordinator returns what the leader saw last of one coordinator.
func (v *View) Coordinator(id string) (*tandemv1.Coordinator, bool) {
	return get[*tandemv1.Coordinator](v, coordinatorTable, id)
}

// Cluster returns the cluster; false before it was created.
func (v *View) Cluster() (*tandemv1.Cluster, bool) {
	rows := all[*tandemv1.Cluster](v, clusterTable)
	if len(rows) == 0 {
		return nil, false
	}
	return rows[0], true
}

// SameCoordinator says whether nothing has changed between two looks at a coordinator.
func SameCoordinator(a, b *tandemv1.Coordinator) bool {
	return a.GetAddress() == b.GetAddress() && a.GetVoter() == b.GetVoter() && a.GetAlive() == b.GetAlive() && a.GetLeader() == b.GetLeader()
}

// Level returns the feature level of the cluster: nothing that came with a higher one is written.
func (v *View) Level() int {
	c, _ := v.Cluster()
	return max(schema.Base, int(c.GetLevel()))
}

// Program returns what a coordinator has said of its program.
func (v *View) Program(id string) (*tandemv1.Program, bool) {
	return get[*tandemv1.Program](v, programTable, id)
}

// Quarantined returns the entries of the log that are skipped, by index.
func (v *View) Quarantined() []*tandemv1.QuarantinedEntry {
	return all[*tandemv1.QuarantinedEntry](v, quarantinedTable)
}
