package api

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/analysis"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// What a look at all trials of a sweep may cost.
const (
	maxReplay       = 100_000 // trials times methods: some seconds of one processor
	trialsPerCharge = 100     // of these, and methods, count as one call
)

// ReplaySweep implements SweepService.
func (a sweeps) ReplaySweep(ctx context.Context, req *connect.Request[tandemv1.ReplaySweepRequest]) (*connect.Response[tandemv1.ReplaySweepResponse], error) {
	v, job, _, err := a.find(ctx, req.Msg.GetId(), false)
	if err != nil {
		return nil, err
	}
	methods, slots := req.Msg.GetMethods(), req.Msg.GetSlots()
	trials := v.TrialsAfter(job.GetId(), 0, 0)
	switch {
	case len(methods) == 0:
		return nil, invalid("methods: name at least one, such as {\"name\": \"asha\"}")
	case slots < 0 || slots > maxRows:
		return nil, invalid(fmt.Sprintf("slots: must be 1 to %d, or 0 for as many as then", maxRows))
	case len(trials)*len(methods) > maxReplay:
		return nil, invalid(fmt.Sprintf("methods: %d on %d trials are too many for one call: name fewer", len(methods), len(trials)))
	}
	if err := spend(ctx, len(trials)*len(methods)/trialsPerCharge); err != nil {
		return nil, err
	}
	res, err := analysis.Replay(job, trials, methods, int(slots))
	if err != nil {
		return nil, unanswered(err)
	}
	return connect.NewResponse(res), nil
}

// GetImportance implements SweepService.
func (a sweeps) GetImportance(ctx context.Context, req *connect.Request[tandemv1.GetImportanceRequest]) (*connect.Response[tandemv1.GetImportanceResponse], error) {
	v, job, _, err := a.find(ctx, req.Msg.GetId(), false)
	if err != nil {
		return nil, err
	}
	trials := v.TrialsAfter(job.GetId(), 0, 0)
	if err := spend(ctx, len(trials)/trialsPerCharge); err != nil {
		return nil, err
	}
	res, err := analysis.Importance(job, trials)
	if err != nil {
		return nil, unanswered(err)
	}
	return connect.NewResponse(res), nil
}

// GetCurves implements SweepService.
func (a sweeps) GetCurves(
	ctx context.Context, req *connect.Request[tandemv1.GetCurvesRequest],
) (*connect.Response[tandemv1.GetCurvesResponse], error) {
	v, job, _, err := a.find(ctx, req.Msg.GetId(), false)
	if err != nil {
		return nil, err
	}
	if req.Msg.GetBest() < 0 {
		return nil, invalid("best: must be at least 1, or 0 for the curves of all trials")
	}
	trials := v.TrialsAfter(job.GetId(), 0, 0)
	if err := spend(ctx, len(trials)/trialsPerCharge); err != nil {
		return nil, err
	}
	return connect.NewResponse(analysis.Curves(job, trials, int(req.Msg.GetBest()))), nil
}

func unanswered(err error) error {
	var wrong *analysis.MethodError
	switch {
	case errors.As(err, &wrong):
		return invalid(err.Error())
	case errors.Is(err, analysis.ErrUnanswerable):
		return precondition(err.Error())
	}
	return err
}
