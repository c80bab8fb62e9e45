package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// Cluster returns the cluster; false before it was created.
func (v *View) Cluster() (*tandemv1.Cluster, bool) {
	rows := all[*tandemv1.Cluster](v, clusterTable)
	if len(rows) == 0 {
		return nil, false
	}
	return rows[0], true
}
