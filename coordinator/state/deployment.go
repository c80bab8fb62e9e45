package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// Deployment returns a deployment by name.
func (v *View) Deployment(name string) (*tandemv1.Deployment, bool) {
	return get[*tandemv1.Deployment](v, deploymentTable, v.key(name))
}

// Deployments returns all deployments with their keys for names: what decides about them, and what it decides, names them so.
func (v *View) Deployments() []*tandemv1.Deployment {
	rows := DeploymentRows(v)
	for i, d := range rows {
		if key := RowID(d); key != d.GetName() {
			rows[i] = Shallow(d)
			rows[i].Name = key
		}
	}
	return rows
}

// DeploymentRows returns all deployments by project and name.
func DeploymentRows(v *View) []*tandemv1.Deployment {
	return all[*tandemv1.Deployment](v, deploymentTable)
}

// Replica returns a replica.
func (v *View) Replica(id string) (*tandemv1.Replica, bool) {
	return get[*tandemv1.Replica](v, replicaTable, id)
}

// Replicas returns all replicas by id.
func (v *View) Replicas() []*tandemv1.Replica { return all[*tandemv1.Replica](v, replicaTable) }

// ReplicasOf returns the replicas of a deployment, by id.
func (v *View) ReplicasOf(deployment string) []*tandemv1.Replica {
	return list[*tandemv1.Replica](v, replicaTable, "deployment", v.key(deployment))
}

// ReplicasOn returns the replicas on a node, by id.
func (v *View) ReplicasOn(node string) []*tandemv1.Replica {
	return list[*tandemv1.Replica](v, replicaTable, "node", node)
}

// ReplicaLive says whether a replica holds its slot: it starts or is ready.
func ReplicaLive(s tandemv1.ReplicaState) bool {
	return s == tandemv1.ReplicaState_REPLICA_STATE_STARTING || s == tandemv1.ReplicaState_REPLICA_STATE_READY
}
