package api

import (
	"context"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type models struct{ *API }

// ListModels implements ModelService.
func (a models) ListModels(ctx context.Context, _ *connect.Request[tandemv1.ListModelsRequest]) (*connect.Response[tandemv1.ListModelsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListModelsResponse{Models: v.Models()}), nil
}

// GetModel implements ModelService.
func (a models) GetModel(ctx context.Context, req *connect.Request[tandemv1.GetModelRequest]) (*connect.Response[tandemv1.GetModelResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	m, ok := v.Model(req.Msg.GetName())
	if !ok {
		return nil, state.Missing("model", req.Msg.GetName())
	}
	versions := v.VersionsOf(req.Msg.GetName())
	slices.Reverse(versions)
	return connect.NewResponse(&tandemv1.GetModelResponse{Model: m, Versions: versions}), nil
}

// GetVersion implements ModelService.
func (a models) GetVersion(ctx context.Context, req *connect.Request[tandemv1.GetVersionRequest]) (*connect.Response[tandemv1.GetVersionResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	ver, err := v.ResolveVersion(req.Msg.GetVersion())
	if err != nil {
		return nil, err
	}
	manifest, err := a.manifest(ctx, ver.GetPrefix())
	if err != nil {
		return nil, err
	}
	res := &tandemv1.GetVersionResponse{Version: ver, ManifestJson: manifest}
	if m, ok := v.Model(req.Msg.GetVersion()); ok { // a name alone
		res.Target = state.DefaultTarget(m)
	}
	return connect.NewResponse(res), nil
}

// SetAlias implements ModelService.
func (a models) SetAlias(ctx context.Context, req *connect.Request[tandemv1.SetAliasRequest]) (*connect.Response[tandemv1.SetAliasResponse], error) {
	m := req.Msg
	if problem := spec.AliasProblem(m.GetAlias()); problem != "" {
		return nil, invalid("alias: " + problem)
	}
	if m.GetVersion() < 0 {
		return nil, invalid("version: must be the number of a version, or 0 to remove the alias")
	}
	project, name, err := named(ctx, "model", m.GetModel())
	if err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, m, &tandemv1.Command{
		Command: &tandemv1.Command_MoveAlias{
			MoveAlias: &tandemv1.MoveAlias{Model: name, Project: project, Alias: m.GetAlias(), Version: m.GetVersion()},
		},
	})
	if err != nil {
		return nil, err
	}
	model, _ := after.Model(m.GetModel())
	return connect.NewResponse(&tandemv1.SetAliasResponse{Model: model}), nil
}

// DeleteModel implements ModelService. The objects are deleted by the leader's loop gc.
func (a models) DeleteModel(ctx context.Context, req *connect.Request[tandemv1.DeleteModelRequest]) (*connect.Response[tandemv1.DeleteModelResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	if doneBefore(ctx, v, req.Msg) {
		return connect.NewResponse(&tandemv1.DeleteModelResponse{}), nil
	}
	key, _, numbered := strings.Cut(req.Msg.GetModel(), "@")
	project, name, err := named(ctx, "model", key)
	if err != nil {
		return nil, err
	}
	going, cmd := v.VersionsOf(key), &tandemv1.DeleteModel{Model: name, Project: project}
	if numbered {
		ver, err := v.ResolveVersion(req.Msg.GetModel())
		if err != nil {
			return nil, err
		}
		going, cmd.Version = []*tandemv1.Version{ver}, ver.GetNumber()
	}
	_, _, err = a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_DeleteModel{DeleteModel: cmd}})
	return answer(&tandemv1.DeleteModelResponse{Versions: going}, err)
}
