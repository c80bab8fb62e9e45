package api

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/analysis"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	lists "tandem.dev/proto/page"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

type sweeps struct{ *API }

// newSweep is the row of a sweep with a complete spec, whose warm start it resolves.
func newSweep(v *state.View, full *tandemv1.JobSpec, now time.Time) (*tandemv1.Sweep, error) {
	s := &tandemv1.Sweep{MaxTrials: full.GetSearch().GetMaxTrials(), Parameters: slices.Sorted(maps.Keys(full.GetSearch().GetSpace()))}
	if d, _ := spec.Deadline(full); d > 0 {
		s.Deadline = timestamppb.New(now.Add(d))
	}
	ref := full.GetSearch().GetWarmStart()
	if ref == "" {
		return s, nil
	}
	const path = "search.warm_start"
	job, err := v.ResolveSweep(ref)
	switch {
	case err != nil:
		return nil, spec.Wrong(path, err.Error())
	case job.GetSpec().GetMetric() != full.GetMetric() || job.GetSpec().GetMode() != full.GetMode():
		return nil, spec.Wrong(path, fmt.Sprintf("sweep %s has metric %s (%s), this one %s (%s): their values cannot be compared",
			job.GetId(), job.GetSpec().GetMetric(), job.GetSpec().GetMode(), full.GetMetric(), full.GetMode()))
	}
	full.Search.WarmStart = job.GetId()
	prior, made, err := analysis.Prior(full, job, v.TrialsAfter(job.GetId(), 0, 0))
	if err != nil {
		return nil, spec.Wrong(path, err.Error())
	}
	s.Prior, s.PriorMade = prior, int32(made) //nolint:gosec // at most the trials of a sweep
	return s, nil
}

// find finds a sweep by the id or the name of its job, to look at it or to change it.
func (a sweeps) find(ctx context.Context, ref string, change bool) (*state.View, *tandemv1.Job, *tandemv1.Sweep, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	resolve := v.ResolveSweep
	if change {
		resolve = v.ResolveSweepToChange
	}
	job, err := resolve(ref)
	if err != nil {
		return nil, nil, nil, err
	}
	s, ok := v.Sweep(job.GetId())
	if !ok {
		return nil, nil, nil, state.Missing("sweep", job.GetId())
	}
	return v, job, s, nil
}

// GetSweep implements SweepService.
func (a sweeps) GetSweep(ctx context.Context, req *connect.Request[tandemv1.GetSweepRequest]) (*connect.Response[tandemv1.GetSweepResponse], error) {
	v, job, s, err := a.find(ctx, req.Msg.GetId(), req.Msg.GetToChange())
	if err != nil {
		return nil, err
	}
	s = state.CopySweep(s)
	s.PriorTaken = int32(len(s.GetPrior())) //nolint:gosec // at most some thousand
	s.Prior = nil                           // it may be long, and is in the trials of the earlier sweep
	res := &tandemv1.GetSweepResponse{Job: job, Sweep: s, Progress: jobs(a).observe(v, job).GetProgress()}
	if best, ok := v.Trial(s.GetBestTrialId()); ok {
		res.Best = best
	}
	return connect.NewResponse(res), nil
}

// trialsNamed finds the trials that a reference to a job or a trial stands for, oldest first. Those of a sweep are too many: each
// is named by its own id.
func trialsNamed(v *state.View, ref string) (*tandemv1.Job, []string, error) {
	if t, ok := v.Trial(ref); ok {
		job, _ := v.Job(t.GetJobId())
		return job, []string{t.GetId()}, nil
	}
	job, err := v.ResolveJob(ref)
	switch {
	case err != nil:
		return nil, nil, err
	case kind.Of(job).Searches:
		return nil, nil, &refusal{connect.CodeFailedPrecondition, &tandemv1.Reason{Code: tandemv1.Reason_CODE_NAME_A_TRIAL, Args: map[string]string{"job": job.GetId()}}}
	case len(job.GetTrialIds()) == 0:
		return nil, nil, fmt.Errorf("job %s has no trial: %w", job.GetId(), state.ErrNotFound)
	}
	return job, job.GetTrialIds(), nil
}

// ListTrials implements SweepService.
func (a sweeps) ListTrials(ctx context.Context, req *connect.Request[tandemv1.ListTrialsRequest]) (*connect.Response[tandemv1.ListTrialsResponse], error) {
	after, err := lists.Trials.After(int64(req.Msg.GetAfter()), req.Msg.GetPageToken())
	if err != nil {
		return nil, err
	}
	v, job, _, err := a.find(ctx, req.Msg.GetId(), false)
	if err != nil {
		return nil, err
	}
	limit, err := rows(req.Msg.GetLimit(), defaultRows, maxRows)
	if err != nil {
		return nil, err
	}
	res, more := &tandemv1.ListTrialsResponse{}, false
	if res.Trials, more = lists.First(v.TrialsAfter(job.GetId(), int32(min(after, math.MaxInt32-1)), limit+1), limit); more { //nolint:gosec // at most that
		res.NextPageToken = lists.Trials.Number(int64(res.GetTrials()[len(res.GetTrials())-1].GetNumber()))
	}
	return connect.NewResponse(res), nil
}

// ListSweepEvents implements SweepService.
func (a sweeps) ListSweepEvents(ctx context.Context, req *connect.Request[tandemv1.ListSweepEventsRequest]) (*connect.Response[tandemv1.ListSweepEventsResponse], error) {
	after, err := lists.SweepEvents.After(req.Msg.GetAfter(), req.Msg.GetPageToken())
	if err != nil {
		return nil, err
	}
	v, job, _, err := a.find(ctx, req.Msg.GetId(), false)
	if err != nil {
		return nil, err
	}
	limit, err := rows(req.Msg.GetLimit(), defaultRows, maxRows)
	if err != nil {
		return nil, err
	}
	res, more := &tandemv1.ListSweepEventsResponse{}, false
	if res.Events, more = lists.First(v.SweepEvents(job.GetId(), after, limit+1), limit); more {
		res.NextPageToken = lists.SweepEvents.Number(res.GetEvents()[len(res.GetEvents())-1].GetSeq())
	}
	return connect.NewResponse(res), nil
}

// ExtendSweep implements SweepService.
func (a sweeps) ExtendSweep(ctx context.Context, req *connect.Request[tandemv1.ExtendSweepRequest]) (*connect.Response[tandemv1.ExtendSweepResponse], error) {
	_, job, _, err := a.find(ctx, req.Msg.GetId(), true)
	if err != nil {
		return nil, err
	}
	most := req.Msg.GetMaxTrials()
	if most > spec.MostTrials {
		return nil, invalid(fmt.Sprintf("max_trials: must be at most %d", spec.MostTrials))
	}
	c := spec.Config(job.GetSpec(), nil)
	grid := c.Method.Name == search.Grid
	if grid { // no more than can come is promised
		most = int32(min(int(most), c.Space.GridSize())) //nolint:gosec // at most what was asked for
	}
	_, after, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_ExtendSweep{ExtendSweep: &tandemv1.ExtendSweep{SweepId: job.GetId(), MaxTrials: most}},
	})
	switch {
	case grid && most < req.Msg.GetMaxTrials() && refusedAs(err, connect.CodeInvalidArgument):
		return nil, precondition(fmt.Sprintf("the grid of sweep %s has %d points, and each has its trial or will get it; submit another sweep with a finer grid", job.GetId(), most))
	case err != nil:
		return nil, err
	}
	s, _ := after.Sweep(job.GetId())
	return connect.NewResponse(&tandemv1.ExtendSweepResponse{Sweep: s}), nil
}

// StopSweepTrial implements SweepService.
func (a sweeps) StopSweepTrial(ctx context.Context, req *connect.Request[tandemv1.StopSweepTrialRequest]) (*connect.Response[tandemv1.StopSweepTrialResponse], error) {
	_, job, _, err := a.find(ctx, req.Msg.GetId(), true)
	if err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_StopSweepTrial{StopSweepTrial: &tandemv1.StopSweepTrial{SweepId: job.GetId(), Trial: req.Msg.GetTrial()}},
	})
	if err != nil {
		return nil, err
	}
	t, _ := after.TrialNumber(job.GetId(), req.Msg.GetTrial())
	return connect.NewResponse(&tandemv1.StopSweepTrialResponse{Trial: t}), nil
}
