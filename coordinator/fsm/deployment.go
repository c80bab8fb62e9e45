package fsm

import (
	"errors"
	"slices"
	"strconv"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) putDeployment(c *tandemv1.PutDeployment) (*tandemv1.Result, *refusal) {
	want := c.GetDeployment()
	if want.GetReplicas() < 1 {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_NO_REPLICAS)
	}
	project, no := projectFor(a.sight, want.GetProject())
	if no != nil {
		return nil, no
	}
	key := state.Key(project, want.GetName())
	m, ok := a.Model(key)
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "model", "name", want.GetName())
	}
	target := want.GetTarget()
	if target == "" {
		target = state.DefaultTarget(m)
	}
	v, err := a.ResolveTarget(key, target)
	if errors.Is(err, state.ErrNotFound) {
		return nil, unknownVersion(m, target)
	}
	old, known := a.Deployment(key)
	if known && old.GetTarget() == target && old.GetVersion() == v.GetNumber() && old.GetReplicas() == want.GetReplicas() && old.GetPool() == want.GetPool() {
		return done(old.GetName()), nil
	}
	d := &tandemv1.Deployment{
		Name: m.GetName(), Project: m.GetProject(), Target: target, Version: v.GetNumber(), VersionId: v.GetId(),
		Replicas: want.GetReplicas(), Pool: want.GetPool(),
		Revision: old.GetRevision() + 1, CreatedAt: a.now, UpdatedAt: a.now,
		Why: reason(tandemv1.Reason_CODE_REPLICAS_UNPLACED),
	}
	if known {
		d.CreatedAt, d.DownSince = old.GetCreatedAt(), old.GetDownSince()
	}
	a.Put(d)
	a.record(infoLevel, tandemv1.Event_TYPE_DEPLOYMENT_CHANGED, aboutDeployment(state.RowID(d)), nil,
		"version", d.GetVersion(), "replicas", d.GetReplicas(), "by", a.actor)
	return done(d.GetName()), nil
}

// unknownVersion refuses what a model has no version of.
func unknownVersion(m *tandemv1.Model, target string) *refusal {
	if _, err := strconv.ParseInt(target, 10, 64); err == nil {
		return refuse(codeNotFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "version", target, "newest", m.GetLatestVersion())
	}
	return refuse(codeNotFound, tandemv1.Reason_CODE_VERSION_UNKNOWN, "model", m.GetName(), "alias", target)
}

// followAliases brings the deployment of a model, by its key, to the version its alias points to now.
func (a *applier) followAliases(model string) {
	d, ok := a.Deployment(model)
	if !ok {
		return
	}
	v, err := a.ResolveTarget(model, d.GetTarget())
	if err != nil || v.GetNumber() == d.GetVersion() {
		return
	}
	d = edit(a, a.Deployment, model, func(d *tandemv1.Deployment) {
		d.Version = v.GetNumber()
		d.VersionId = v.GetId()
		d.Revision++
		d.UpdatedAt = a.now
	})
	a.record(infoLevel, tandemv1.Event_TYPE_DEPLOYMENT_FOLLOWED, aboutDeployment(state.RowID(d)), nil,
		"alias", d.GetTarget(), "version", d.GetVersion())
}

func (a *applier) dropDeployment(c *tandemv1.DropDeployment) (*tandemv1.Result, *refusal) {
	d, ok := a.Deployment(state.Key(c.GetProject(), c.GetName()))
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "deployment", "name", c.GetName())
	}
	for _, r := range a.ReplicasOf(state.RowID(d)) {
		a.Delete(r)
	}
	a.Delete(d)
	a.record(infoLevel, tandemv1.Event_TYPE_DEPLOYMENT_REMOVED, aboutDeployment(state.RowID(d)), nil, "by", a.actor)
	return done(d.GetName()), nil
}

// applyRollout removes first, so that what is placed may take the slots. Parts of the result are those of place.
func (a *applier) applyRollout(c *tandemv1.ApplyRollout) (*tandemv1.Result, *refusal) {
	d, ok := a.Deployment(c.GetName())
	if !ok {
		return nil, refuse(codeStale, tandemv1.Reason_CODE_NOT_FOUND, "noun", "deployment", "name", c.GetName())
	}
	result := done(d.GetName())
	for _, id := range c.GetRemove() {
		if r, ok := a.Replica(id); ok && r.GetDeployment() == state.RowID(d) {
			a.Delete(r)
			a.goesDown(r, nil)
		}
	}
	for _, r := range c.GetPlace() {
		no := a.checkReplica(d, r)
		if no == nil {
			a.placeReplica(d, r)
		}
		result.PartWhys = append(result.PartWhys, no.part())
	}
	if why := given(c.GetWhy(), c.GetReason()); !sameReason(given(d.GetWhy(), d.GetReason()), why) {
		edit(a, a.Deployment, state.RowID(d), func(d *tandemv1.Deployment) { d.Why, d.Reason = why, "" })
	}
	return result, nil
}

// checkReplica says why a replica does not fit the state as it is now; nil when it does.
func (a sight) checkReplica(d *tandemv1.Deployment, r *tandemv1.Replica) *refusal {
	if r.GetId() == "" {
		return refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "replica", "field", "id")
	}
	if _, _, rank := state.ParseEngineID(r.GetId()); rank {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "rank", "name", r.GetId())
	}
	if _, ok := a.Replica(r.GetId()); ok {
		return refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "replica", "name", r.GetId())
	}
	if r.GetRevision() != d.GetRevision() {
		return refuse(codeStale, tandemv1.Reason_CODE_REVISION_STALE, "given", r.GetRevision(), "name", d.GetName(), "current", d.GetRevision())
	}
	return a.checkSlot(r.GetNodeId(), r.GetSlotId(), d.GetPool())
}

func (a *applier) placeReplica(d *tandemv1.Deployment, r *tandemv1.Replica) {
	a.Put(&tandemv1.Replica{
		Id: r.GetId(), Deployment: state.RowID(d), Revision: d.GetRevision(), Version: d.GetVersion(), VersionId: d.GetVersionId(),
		NodeId: r.GetNodeId(), SlotId: r.GetSlotId(), State: tandemv1.ReplicaState_REPLICA_STATE_STARTING, CreatedAt: a.now,
	})
	n, _ := a.Node(r.GetNodeId())
	a.record(infoLevel, tandemv1.Event_TYPE_REPLICA_PLACED, aboutDeployment(state.RowID(d)), nil,
		"version", d.GetVersion(), "replica", r.GetId(), "node", nodeName(n))
}

// replicaReport takes what an agent says of a replica's engine.
func (a *applier) replicaReport(n *tandemv1.Node, r *tandemv1.EngineReport) *refusal {
	replica, ok := a.Replica(r.GetEngineId())
	if !ok || replica.GetNodeId() != n.GetId() {
		return refuse(codeStale, tandemv1.Reason_CODE_REPLICA_OVER)
	}
	if !state.ReplicaLive(replica.GetState()) {
		if r.GetFailed() != nil {
			return nil
		}
		return refuse(codePrecondition, tandemv1.Reason_CODE_REPLICA_FAILED_BEFORE)
	}
	switch body := r.GetReport().(type) {
	case *tandemv1.EngineReport_Ready:
		if replica.GetState() == tandemv1.ReplicaState_REPLICA_STATE_STARTING {
			edit(a, a.Replica, replica.GetId(), func(r *tandemv1.Replica) { r.State = tandemv1.ReplicaState_REPLICA_STATE_READY })
			a.nodeRuns(n.GetId())
			a.record(infoLevel, tandemv1.Event_TYPE_REPLICA_READY, aboutDeployment(replica.GetDeployment()), nil, "version", replica.GetVersion(), "replica", replica.GetId(), "node", nodeName(n))
			a.comesUp(replica.GetDeployment())
		}
	case *tandemv1.EngineReport_Failed:
		if body.Failed.GetNodeFault() {
			a.nodeFails(n.GetId(), words(body.Failed.GetMessage()))
		}
		a.failReplica(replica, words(body.Failed.GetMessage()))
	case *tandemv1.EngineReport_Finished, *tandemv1.EngineReport_Stopped:
		a.failReplica(replica, reason(tandemv1.Reason_CODE_ENGINE_ENDED))
	default:
		return refuse(codeInvalid, tandemv1.Reason_CODE_REPORT_UNKNOWN)
	}
	return nil
}

// failReplica frees the slot of a replica; the row stays until the rollout has replaced it.
func (a *applier) failReplica(r *tandemv1.Replica, why *tandemv1.Reason) {
	edit(a, a.Replica, r.GetId(), func(r *tandemv1.Replica) {
		r.State, r.Why, r.Reason = tandemv1.ReplicaState_REPLICA_STATE_FAILED, why, ""
	})
	n, _ := a.Node(r.GetNodeId())
	a.record(warningLevel, tandemv1.Event_TYPE_REPLICA_FAILED, aboutDeployment(r.GetDeployment()), why, "version", r.GetVersion(), "replica", r.GetId(), "node", nodeName(n))
	a.goesDown(r, why)
}

// goesDown says that a deployment has no ready replica any more, when the one that has gone was the last.
func (a *applier) goesDown(gone *tandemv1.Replica, why *tandemv1.Reason) {
	const ready = tandemv1.ReplicaState_REPLICA_STATE_READY
	d, ok := a.Deployment(gone.GetDeployment())
	others := slices.ContainsFunc(a.ReplicasOf(gone.GetDeployment()), func(r *tandemv1.Replica) bool { return r.GetState() == ready })
	if !ok || gone.GetState() != ready || others {
		return
	}
	edit(a, a.Deployment, state.RowID(d), func(d *tandemv1.Deployment) { d.DownSince = a.now })
	a.record(warningLevel, tandemv1.Event_TYPE_DEPLOYMENT_DOWN, aboutDeployment(state.RowID(d)), why)
}

// comesUp says that a deployment, by its key, that had none has a ready replica again.
func (a *applier) comesUp(key string) {
	d, ok := a.Deployment(key)
	if !ok || d.GetDownSince() == nil {
		return
	}
	down := a.now.AsTime().Sub(d.GetDownSince().AsTime())
	edit(a, a.Deployment, key, func(d *tandemv1.Deployment) { d.DownSince = nil })
	a.record(infoLevel, tandemv1.Event_TYPE_DEPLOYMENT_UP, aboutDeployment(key), nil, "down", int64(down.Seconds()))
}
