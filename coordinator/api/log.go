package api

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/state"
	"tandem.dev/coordinator/tasklog"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// logGrace: agents store the last lines a moment after an engine has ended.
const logGrace = 3 * time.Second

// StreamLogs implements JobService.
func (a jobs) StreamLogs(ctx context.Context, req *connect.Request[tandemv1.StreamLogsRequest], stream *connect.ServerStream[tandemv1.StreamLogsResponse]) error {
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	job, trials, err := trialsNamed(v, req.Msg.GetId())
	if err != nil {
		return err
	}
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	if at := job.GetLogsDeletedAt(); at != nil {
		// A trial that a sweep made since, when it was extended, has all that it wrote.
		if t, _ := v.Trial(trials[0]); t.GetCreatedAt().AsTime().Before(at.AsTime()) {
			if err := stream.Send(&tandemv1.StreamLogsResponse{DeletedAt: at, KeptFor: job.GetLogsKeptFor()}); err != nil {
				return err
			}
		}
	}
	var readers []*tasklog.Reader
	for _, trial := range trials {
		readers = append(readers, tasklog.New(store, trial))
	}
	visit := visiting(ctx)
	sink := tasklog.Sink{
		Open:  func() error { return visit.Hold(door.LogHold) },
		Close: func() { _ = visit.Hold(-door.LogHold) }, // less is never too much
		Send: func(line *tandemv1.StreamLogsResponse) error {
			if err := visit.Line(ctx); err != nil {
				return err
			}
			return stream.Send(line)
		},
	}
	var ended, swept time.Time
	for {
		// Whether the job has ended is read before the objects, so that none is missed.
		now := time.Now()
		if current, there := a.now(ctx).Job(job.GetId()); ended.IsZero() && (!there || state.JobFinal(current.GetState())) {
			ended = now
			if f := current.GetFinishedAt(); f != nil && f.AsTime().Before(now) {
				ended = f.AsTime()
			}
		}
		last := !req.Msg.GetFollow() || !ended.IsZero() && now.Sub(ended) >= logGrace
		sweep := last || now.Sub(swept) >= a.cfg.LogSweep
		if sweep {
			swept = now
		}
		for _, r := range readers {
			if err := r.Send(ctx, now, sweep, sink); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		if err := a.logPause(ctx, job.GetId(), ended); err != nil {
			return err
		}
	}
}

// logPause waits until it is time to look for lines again: after a moment, when the job ends, and when the grace after
// its end is over.
func (a jobs) logPause(ctx context.Context, job string, ended time.Time) error {
	next := time.Now().Add(a.cfg.LogPoll)
	if over := ended.Add(logGrace); !ended.IsZero() && over.Before(next) {
		next = over
	}
	waiting, cancel := context.WithDeadline(ctx, next)
	defer cancel()
	for v := a.now(ctx); waiting.Err() == nil; v = a.now(ctx) {
		if current, there := v.Job(job); ended.IsZero() && (!there || state.JobFinal(current.GetState())) {
			break
		}
		_ = a.deps.State.Wait(waiting, v.Index()) // a change or the deadline: both are a reason to look
	}
	return ctx.Err()
}
