package fsm

import (
	"errors"
	"fmt"
	"strconv"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) putDeployment(c *tandemv1.PutDeployment) *tandemv1.Result {
	want := c.GetDeployment()
	if want.GetReplicas() < 1 {
		return refuse(invalid, "a deployment needs at least one replica; to stop serving, delete the deployment")
	}
	m, ok := a.Model(want.GetName())
	if !ok {
		return refuse(notFound, "model %q is not there; see what is with: tandem model list", want.GetName())
	}
	target := want.GetTarget()
	if target == "" {
		target = strconv.FormatInt(m.GetLatestVersion(), 10)
		if _, ok := state.AliasOf(m, state.DefaultAlias); ok {
			target = state.DefaultAlias
		}
	}
	v, err := a.ResolveTarget(m.GetName(), target)
	if errors.Is(err, state.ErrNotFound) {
		return refuse(notFound, "%v; see what is with: tandem model describe %s", err, m.GetName())
	}
	old, known := a.Deployment(want.GetName())
	if known && old.GetTarget() == target && old.GetVersion() == v.GetNumber() && old.GetReplicas() == want.GetReplicas() && old.GetPool() == want.GetPool() {
		return done(old.GetName())
	}
	d := &tandemv1.Deployment{
		Name: m.GetName(), Target: target, Version: v.GetNumber(), VersionId: v.GetId(),
		Replicas: want.GetReplicas(), Pool: want.GetPool(),
		Revision: old.GetRevision() + 1, CreatedAt: a.now, UpdatedAt: a.now,
		Reason: "Waits for its replicas to be placed.",
	}
	if known {
		d.CreatedAt = old.GetCreatedAt()
	}
	a.Put(d)
	a.event(info, "deployment", d.GetName(), "", "Deployment %s is to serve version %d with %d replica(s), as %s asked.", d.GetName(), d.GetVersion(), d.GetReplicas(), a.who())
	return done(d.GetName())
}

// followAliases brings the deployment of a model to the version its alias points to now.
func (a *applier) followAliases(m *tandemv1.Model) {
	d, ok := a.Deployment(m.GetName())
	if !ok {
		return
	}
	v, err := a.ResolveTarget(m.GetName(), d.GetTarget())
	if err != nil || v.GetNumber() == d.GetVersion() {
		return
	}
	d = state.Clone(d)
	d.Version = v.GetNumber()
	d.VersionId = v.GetId()
	d.Revision++
	d.UpdatedAt = a.now
	a.Put(d)
	a.event(info, "deployment", d.GetName(), "", "Deployment %s follows alias %s to version %d.", d.GetName(), d.GetTarget(), d.GetVersion())
}

func (a *applier) dropDeployment(c *tandemv1.DropDeployment) *tandemv1.Result {
	d, ok := a.Deployment(c.GetName())
	if !ok {
		return refuse(notFound, "deployment %q is not there", c.GetName())
	}
	for _, r := range a.ReplicasOf(d.GetName()) {
		a.Delete(r)
	}
	a.Delete(d)
	a.event(info, "deployment", d.GetName(), "", "Deployment %s was stopped by %s.", d.GetName(), a.who())
	return done(d.GetName())
}

// applyRollout removes first, so that what is placed may take the slots. Parts of the result are those of place.
func (a *applier) applyRollout(c *tandemv1.ApplyRollout) *tandemv1.Result {
	d, ok := a.Deployment(c.GetName())
	if !ok {
		return refuse(stale, "deployment %q is not there any more", c.GetName())
	}
	result := done(d.GetName())
	for _, id := range c.GetRemove() {
		if r, ok := a.Replica(id); ok && r.GetDeployment() == d.GetName() {
			a.Delete(r)
		}
	}
	for _, r := range c.GetPlace() {
		refusal := a.checkReplica(d, r)
		if refusal == "" {
			a.placeReplica(d, r)
		}
		result.PartRefusals = append(result.PartRefusals, refusal)
	}
	if d.GetReason() != c.GetReason() {
		d = state.Clone(d)
		d.Reason = c.GetReason()
		a.Put(d)
	}
	return result
}

// checkReplica says why a replica does not fit the state as it is now; empty when it does.
func (a *applier) checkReplica(d *tandemv1.Deployment, r *tandemv1.Replica) string {
	if r.GetId() == "" {
		return "the replica has no id"
	}
	if _, _, rank := state.ParseEngineID(r.GetId()); rank {
		return fmt.Sprintf("%q is the id of a rank", r.GetId())
	}
	if _, ok := a.Replica(r.GetId()); ok {
		return fmt.Sprintf("replica %s is there already", r.GetId())
	}
	if r.GetRevision() != d.GetRevision() {
		return fmt.Sprintf("decided for revision %d, deployment %s is at %d", r.GetRevision(), d.GetName(), d.GetRevision())
	}
	return a.checkSlot(r.GetNodeId(), r.GetSlotId(), d.GetPool())
}

func (a *applier) placeReplica(d *tandemv1.Deployment, r *tandemv1.Replica) {
	a.Put(&tandemv1.Replica{
		Id: r.GetId(), Deployment: d.GetName(), Revision: d.GetRevision(), Version: d.GetVersion(), VersionId: d.GetVersionId(),
		NodeId: r.GetNodeId(), SlotId: r.GetSlotId(), State: tandemv1.ReplicaState_REPLICA_STATE_STARTING, CreatedAt: a.now,
	})
	n, _ := a.Node(r.GetNodeId())
	a.event(info, "deployment", d.GetName(), "", "A replica of %s@%d starts on %s.", d.GetName(), d.GetVersion(), nodeName(n))
}

// replicaReport takes what an agent says of a replica's engine.
func (a *applier) replicaReport(n *tandemv1.Node, r *tandemv1.EngineReport) string {
	replica, ok := a.Replica(r.GetEngineId())
	if !ok || replica.GetNodeId() != n.GetId() {
		return "the replica is not wanted here any more; end the engine"
	}
	if !state.ReplicaLive(replica.GetState()) {
		if r.GetFailed() != nil {
			return ""
		}
		return "the replica has failed before; end the engine"
	}
	switch body := r.GetReport().(type) {
	case *tandemv1.EngineReport_Ready:
		if replica.GetState() == tandemv1.ReplicaState_REPLICA_STATE_STARTING {
			replica = state.Clone(replica)
			replica.State = tandemv1.ReplicaState_REPLICA_STATE_READY
			a.nodeRuns(n)
			a.Put(replica)
			a.event(info, "deployment", replica.GetDeployment(), "", "A replica of %s@%d on %s is ready.", replica.GetDeployment(), replica.GetVersion(), nodeName(n))
		}
	case *tandemv1.EngineReport_Failed:
		if body.Failed.GetNodeFault() {
			a.nodeFails(n, body.Failed.GetMessage())
		}
		a.failReplica(replica, body.Failed.GetMessage())
	case *tandemv1.EngineReport_Finished, *tandemv1.EngineReport_Stopped:
		a.failReplica(replica, "the engine ended")
	default:
		return "a replica does not report that; run the same version on agents and coordinators"
	}
	return ""
}

// failReplica frees the slot of a replica; the row stays until the rollout has replaced it.
func (a *applier) failReplica(r *tandemv1.Replica, why string) {
	r = state.Clone(r)
	r.State = tandemv1.ReplicaState_REPLICA_STATE_FAILED
	r.Reason = sentence(why)
	a.Put(r)
	n, _ := a.Node(r.GetNodeId())
	a.event(warning, "deployment", r.GetDeployment(), "", "A replica of %s@%d on %s failed: %s", r.GetDeployment(), r.GetVersion(), nodeName(n), sentence(why))
}
