package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type deployments struct{ *API }

const maxReplicas = 100

// ApplyDeployment implements DeploymentService.
func (a deployments) ApplyDeployment(ctx context.Context, req *connect.Request[tandemv1.ApplyDeploymentRequest]) (*connect.Response[tandemv1.ApplyDeploymentResponse], error) {
	m := req.Msg
	if m.GetReplicas() < 1 || m.GetReplicas() > maxReplicas {
		return nil, invalid(fmt.Sprintf("replicas: must be 1 to %d", maxReplicas))
	}
	pool := cmp.Or(m.GetPool(), "default")
	if !spec.IsName(pool) {
		return nil, invalid("pool: " + spec.NameRule)
	}
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	key, target, err := servable(v, m.GetModel())
	if err != nil {
		return nil, err
	}
	project, name, err := named(ctx, "model", key)
	if err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, m, &tandemv1.Command{
		Command: &tandemv1.Command_PutDeployment{PutDeployment: &tandemv1.PutDeployment{Deployment: &tandemv1.Deployment{
			Name: name, Project: project, Target: target, Replicas: m.GetReplicas(), Pool: pool,
		}}},
	})
	if err != nil {
		return nil, err
	}
	d, _ := after.Deployment(key)
	return connect.NewResponse(&tandemv1.ApplyDeploymentResponse{Deployment: d}), nil
}

// shown are replicas as clients see them: they name their deployment as it names itself.
func shown(all []*tandemv1.Replica) []*tandemv1.Replica {
	for i, r := range all {
		if project, name := state.SplitKey(r.GetDeployment()); project != state.DefaultProject {
			all[i] = state.Shallow(r)
			all[i].Deployment = name
		}
	}
	return all
}

// servable splits "model@target" and finds a target when none was given.
func servable(v *state.View, ref string) (name, target string, err error) {
	name, target, given := strings.Cut(ref, "@")
	m, ok := v.Model(name)
	if !ok {
		return "", "", state.Missing("model", name)
	}
	if !given {
		target = state.DefaultTarget(m)
	}
	_, err = v.ResolveTarget(name, target)
	return name, target, err
}

// ListDeployments implements DeploymentService.
func (a deployments) ListDeployments(ctx context.Context, _ *connect.Request[tandemv1.ListDeploymentsRequest]) (*connect.Response[tandemv1.ListDeploymentsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListDeploymentsResponse{Deployments: state.DeploymentRows(v), Replicas: shown(v.Replicas())}), nil
}

// GetDeployment implements DeploymentService.
func (a deployments) GetDeployment(ctx context.Context, req *connect.Request[tandemv1.GetDeploymentRequest]) (*connect.Response[tandemv1.GetDeploymentResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	d, ok := v.Deployment(req.Msg.GetName())
	if !ok {
		return nil, state.Missing("deployment", req.Msg.GetName())
	}
	return connect.NewResponse(&tandemv1.GetDeploymentResponse{Deployment: d, Replicas: shown(v.ReplicasOf(req.Msg.GetName()))}), nil
}

// DeleteDeployment implements DeploymentService.
func (a deployments) DeleteDeployment(ctx context.Context, req *connect.Request[tandemv1.DeleteDeploymentRequest]) (*connect.Response[tandemv1.DeleteDeploymentResponse], error) {
	project, name, err := named(ctx, "deployment", req.Msg.GetName())
	if err != nil {
		return nil, err
	}
	if _, _, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_DropDeployment{DropDeployment: &tandemv1.DropDeployment{Name: name, Project: project}},
	}); err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.DeleteDeploymentResponse{}), nil
}

// WatchDeployment implements DeploymentService.
func (a deployments) WatchDeployment(ctx context.Context, req *connect.Request[tandemv1.WatchDeploymentRequest], stream *connect.ServerStream[tandemv1.WatchDeploymentResponse]) error {
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	var last *tandemv1.WatchDeploymentResponse
	for {
		d, ok := v.Deployment(req.Msg.GetName())
		if !ok && last == nil {
			return state.Missing("deployment", req.Msg.GetName())
		}
		if !ok {
			return connect.NewError(connect.CodeNotFound, errors.New("the deployment was removed"))
		}
		now := &tandemv1.WatchDeploymentResponse{Deployment: d, Replicas: shown(v.ReplicasOf(req.Msg.GetName()))}
		if last == nil || last.GetDeployment().GetModifiedIndex() != d.GetModifiedIndex() ||
			!slices.EqualFunc(last.GetReplicas(), now.GetReplicas(), func(x, y *tandemv1.Replica) bool {
				return x.GetId() == y.GetId() && x.GetModifiedIndex() == y.GetModifiedIndex()
			}) {
			if err := stream.Send(now); err != nil {
				return err
			}
			last = now
		}
		if err := a.deps.State.Wait(ctx, v.Index()); err != nil {
			return err
		}
		v = a.now(ctx)
	}
}
