package api

import (
	"context"
	"math"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type projects struct{ *API }

// CreateProject implements ProjectService.
func (a projects) CreateProject(
	ctx context.Context, req *connect.Request[tandemv1.CreateProjectRequest],
) (*connect.Response[tandemv1.CreateProjectResponse], error) {
	m := req.Msg
	if !spec.IsName(m.GetName()) {
		return nil, invalid("name: " + spec.NameRule)
	}
	_, after, err := a.write(ctx, m, &tandemv1.Command{Command: &tandemv1.Command_CreateProject{CreateProject: &tandemv1.CreateProject{
		Project: &tandemv1.Project{Name: m.GetName(), Description: m.GetDescription(), Weight: m.GetWeight()},
	}}})
	if err != nil {
		return nil, err
	}
	p, _ := after.Whole().Project(m.GetName())
	return connect.NewResponse(&tandemv1.CreateProjectResponse{Project: p}), nil
}

// mine is the view of all that the caller may work in, whichever project the call is in.
func (a projects) mine(ctx context.Context) (*state.View, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	return v.In(From(ctx).Reach), nil
}

// ListProjects implements ProjectService.
func (a projects) ListProjects(
	ctx context.Context, _ *connect.Request[tandemv1.ListProjectsRequest],
) (*connect.Response[tandemv1.ListProjectsResponse], error) {
	v, err := a.mine(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListProjectsResponse{Projects: state.Projects(v)}), nil
}

// GetProject implements ProjectService.
func (a projects) GetProject(
	ctx context.Context, req *connect.Request[tandemv1.GetProjectRequest],
) (*connect.Response[tandemv1.GetProjectResponse], error) {
	v, err := a.mine(ctx)
	if err != nil {
		return nil, err
	}
	p, ok := v.Project(req.Msg.GetName())
	if !ok {
		return nil, state.Missing("project", req.Msg.GetName())
	}
	v = v.In(p.GetName())
	count := func(n int) int32 { return int32(min(n, math.MaxInt32)) } //nolint:gosec // at most that
	res := &tandemv1.GetProjectResponse{
		Project: p, Jobs: count(len(v.Jobs())), Datasets: count(len(v.Datasets())), Models: count(len(v.Models())),
		Deployments: count(len(state.DeploymentRows(v))),
	}
	if From(ctx).may(admin) {
		res.Tokens = count(len(v.AllTokens()))
	}
	return connect.NewResponse(res), nil
}

// SetProject implements ProjectService.
func (a projects) SetProject(
	ctx context.Context, req *connect.Request[tandemv1.SetProjectRequest],
) (*connect.Response[tandemv1.SetProjectResponse], error) {
	m := req.Msg
	_, after, err := a.write(ctx, m, &tandemv1.Command{Command: &tandemv1.Command_SetProject{
		SetProject: &tandemv1.SetProject{Name: m.GetName(), Description: m.Description, Weight: m.Weight},
	}})
	if err != nil {
		return nil, err
	}
	p, _ := after.Whole().Project(m.GetName())
	return connect.NewResponse(&tandemv1.SetProjectResponse{Project: p}), nil
}

// DeleteProject implements ProjectService.
func (a projects) DeleteProject(
	ctx context.Context, req *connect.Request[tandemv1.DeleteProjectRequest],
) (*connect.Response[tandemv1.DeleteProjectResponse], error) {
	_, _, err := a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_DeleteProject{
		DeleteProject: &tandemv1.DeleteProject{Name: req.Msg.GetName()},
	}})
	return answer(&tandemv1.DeleteProjectResponse{}, err)
}
