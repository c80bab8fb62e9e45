package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/analysis"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/metric"
)

type metricService struct{ *API }

const (
	defaultPoints = 200
	maxPoints     = 10_000
	defaultTraced = 20
	maxTraced     = 1000

	// Where rank 0 was killed others tell of its last seconds. A segment is at most segmentSpan long.
	segmentSpan = 45 * time.Second
	maxGapReads = 200
	// Segments of spans that are looked through for steps that all ranks traced, per rank.
	traceSegments = 4
	// Objects with exact steps that one call reads: those of some hours on two ranks.
	maxStepSegments = 2000
)

// GetMetrics implements MetricService.
func (a metricService) GetMetrics(ctx context.Context, req *connect.Request[tandemv1.GetMetricsRequest]) (*connect.Response[tandemv1.GetMetricsResponse], error) {
	limit := int(req.Msg.GetMaxPoints())
	if limit == 0 {
		limit = defaultPoints
	}
	if limit < 0 || limit > maxPoints {
		return nil, invalid(fmt.Sprintf("max_points: must be 1 to %d, or 0 for %d", maxPoints, defaultPoints))
	}
	job, trial, store, err := a.of(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	life := analysis.Life{Created: trial.GetCreatedAt().AsTime(), Running: trial.GetAllocationId() != "", Now: time.Now()}
	if f := trial.GetFinishedAt(); f != nil {
		life.Ended = f.AsTime()
	}
	segments, lost, err := readLife(ctx, store, trial.GetId(), life)
	if err != nil {
		return nil, err
	}
	var recorded []analysis.Evaluation
	for _, e := range trial.GetEvaluations() {
		recorded = append(recorded, analysis.Evaluation{Step: e.GetStep(), Time: e.GetTime().AsTime().UnixNano(), Metrics: e.GetMetrics()})
	}
	total := analysis.ComputeStepTime(segments)
	res := &tandemv1.GetMetricsResponse{
		JobId: job.GetId(), TrialId: trial.GetId(), StepTime: stepTime(total), SamplesPerSecond: total.SamplesPerSecond,
		Goodput: goodput(analysis.ComputeGoodput(segments, life)), Lost: lost,
	}
	all := analysis.ComputeSeries(segments, recorded)
	if slices.ContainsFunc(req.Msg.GetSeries(), func(name string) bool { return name == analysis.StepLoss || name == analysis.StepNorm }) {
		exact, more, err := a.exact(ctx, store, job, trial)
		if err != nil {
			return nil, err
		}
		all, res.Lost = append(all, exact...), lost+more
	}
	for _, s := range all {
		if wanted := req.Msg.GetSeries(); len(wanted) > 0 && !slices.Contains(wanted, s.Name) {
			continue
		}
		out := &tandemv1.Series{Name: s.Name}
		for _, p := range analysis.Thin(s.Points, req.Msg.GetSinceStep(), limit) {
			out.Steps, out.Values = append(out.Steps, p.Step), append(out.Values, p.Value)
			out.Seconds = append(out.Seconds, time.Unix(0, p.Time).Sub(life.Created).Seconds())
		}
		if len(out.GetSteps()) > 0 {
			res.Series = append(res.Series, out)
		}
	}
	return connect.NewResponse(res), nil
}

// exact reads the figures of each step of a trial.
func (a metricService) exact(ctx context.Context, store storage.Store, job *tandemv1.Job, trial *tandemv1.Trial) ([]analysis.Series, int64, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, 0, err
	}
	names, err := metric.List(ctx, store, trial.GetId(), metric.Steps)
	if err != nil {
		return nil, 0, err
	}
	if len(names) > maxStepSegments {
		return nil, 0, invalid(fmt.Sprintf("series: the exact steps of this trial are in %d objects, at most %d are read; take %s out", len(names), maxStepSegments, analysis.StepLoss))
	}
	segments, lost, err := metric.Read(ctx, store, names)
	if err != nil {
		return nil, 0, err
	}
	spec := state.SpecOf(job, trial)
	data, _ := v.Dataset(spec.GetDatasetId())
	return analysis.ComputeSteps(segments, analysis.RowsOfStep(data.GetRows()["train"], int64(spec.GetTraining().GetBatch()))), lost, nil
}

// of finds the newest trial of a job, or the one that is named, and the store.
func (a metricService) of(ctx context.Context, ref string) (*tandemv1.Job, *tandemv1.Trial, storage.Store, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	job, ids, err := trialsNamed(v, ref)
	if err != nil {
		return nil, nil, nil, err
	}
	trial, ok := v.Trial(ids[len(ids)-1])
	if !ok {
		return nil, nil, nil, fmt.Errorf("trial %s: %w", ids[len(ids)-1], state.ErrNotFound)
	}
	store, err := a.deps.Store()
	return job, trial, store, err
}

// readLife reads what ranks 0 and those who were in no group told of a trial, and what others told of the times of which those
// did not. It counts what was lost on the way, and what cannot be read.
func readLife(ctx context.Context, store storage.Store, trial string, life analysis.Life) (segments []metric.Segment, lost int64, err error) {
	names, err := metric.List(ctx, store, trial, metric.Beats)
	if err != nil {
		return nil, 0, err
	}
	var first, others []metric.Name
	for _, n := range names {
		if n.Rank <= 0 {
			first = append(first, n)
		} else {
			others = append(others, n)
		}
	}
	segments, lost, err = metric.Read(ctx, store, first)
	if err != nil || len(others) == 0 {
		return segments, lost, err
	}
	var fill []metric.Name
	for _, gap := range analysis.Gaps(segments, life) {
		for _, n := range others {
			if begin := n.Begin.UnixNano(); begin < gap.To && begin > gap.From-int64(segmentSpan) {
				fill = append(fill, n)
			}
		}
	}
	slices.SortStableFunc(fill, func(a, b metric.Name) int { return a.Rank - b.Rank })
	fill = slices.CompactFunc(fill, func(a, b metric.Name) bool { return a.Key == b.Key })
	more, _, err := metric.Read(ctx, store, fill[:min(len(fill), maxGapReads)])
	return append(segments, more...), lost, err
}

// GetTrace implements MetricService.
func (a metricService) GetTrace(ctx context.Context, req *connect.Request[tandemv1.GetTraceRequest]) (*connect.Response[tandemv1.GetTraceResponse], error) {
	steps := int(req.Msg.GetSteps())
	if steps == 0 {
		steps = defaultTraced
	}
	if steps < 0 || steps > maxTraced {
		return nil, invalid(fmt.Sprintf("steps: must be 1 to %d, or 0 for %d", maxTraced, defaultTraced))
	}
	job, trial, store, err := a.of(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	names, err := metric.List(ctx, store, trial.GetId(), metric.Spans)
	if err != nil {
		return nil, err
	}
	res := &tandemv1.GetTraceResponse{JobId: job.GetId(), TrialId: trial.GetId()}
	for _, n := range names {
		if n.Rank >= 0 {
			res.Generation = max(res.Generation, n.Generation)
		}
	}
	// A segment has at least some 20 steps.
	perRank := traceSegments + steps/defaultTraced
	count := map[int]int{}
	var chosen []metric.Name
	for _, n := range slices.Backward(names) {
		if n.Generation == res.GetGeneration() && n.Rank >= 0 && count[n.Rank] < perRank {
			count[n.Rank]++
			chosen = append(chosen, n)
		}
	}
	segments, _, err := metric.Read(ctx, store, chosen)
	if err != nil {
		return nil, err
	}
	for _, r := range analysis.ComputeTraces(segments, steps) {
		out := &tandemv1.RankTrace{Rank: int32(r.Rank), NodeId: r.Node, Member: r.Member}
		for _, p := range r.Spans {
			out.Spans = append(out.Spans, &tandemv1.TraceSpan{Step: p.Step, Of: p.Of.String(), Begin: p.Begin, Length: int64(p.Length)})
		}
		res.Ranks = append(res.Ranks, out)
	}
	return connect.NewResponse(res), nil
}

func stepTime(t analysis.StepTime) *tandemv1.StepTime {
	s := func(c metric.Category) float64 { return t.Times[c].Seconds() }
	return &tandemv1.StepTime{
		Steps: t.Steps, Data: s(metric.Data), Forward: s(metric.Forward), Backward: s(metric.Backward), Communication: s(metric.Communication),
		Optimizer: s(metric.Optimizer), Checkpoint: s(metric.Checkpoint), Other: s(metric.Other),
	}
}

func goodput(g analysis.Goodput) *tandemv1.Goodput {
	return &tandemv1.Goodput{
		Total: g.Total.Seconds(), Useful: g.Useful.Seconds(), Redone: g.Redone.Seconds(), Stalled: g.Stalled.Seconds(),
		Waiting: g.Waiting.Seconds(), Starting: g.Starting.Seconds(), Idle: g.Idle.Seconds(), Until: timestamppb.New(g.Until),
	}
}
