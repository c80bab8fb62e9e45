package agent

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"tandem.dev/proto/repeat"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

const (
	reportBatch = 64              // reports in one call
	reportLimit = 1024            // reports engines may queue
	reportTime  = 8 * time.Second // for one call; an election takes less
)

// reporter takes reports to a coordinator, in order, until each is answered.
type reporter struct {
	node         *tandemv1.Node
	queue        *reportQueue
	coordinators *coordinators
	fence        func(engine string)
	log          zerolog.Logger
	metrics      *metrics
	repeats      repeat.Limiter
}

func (r *reporter) run(ctx context.Context) error {
	for {
		batch, err := r.queue.peek(ctx, reportBatch)
		if err != nil {
			return nil // ctx ended
		}
		answers, err := r.send(ctx, batch)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// The coordinators refuse the call as such, all of it: that is not about an engine. Try again later.
			r.repeats.Error(r.log, "reports").Err(err).Int("reports", len(batch)).Msg("coordinator refuses reports; they wait")
			r.metrics.reports.WithLabelValues("error").Add(float64(len(batch)))
			if sleep(ctx, longestWait) != nil {
				return nil
			}
			continue
		}
		r.handleAnswers(batch, answers)
		r.queue.drop(len(batch))
	}
}

func (r *reporter) send(ctx context.Context, batch []*tandemv1.EngineReport) (*tandemv1.ReportResponse, error) {
	req := &tandemv1.ReportRequest{NodeId: r.node.GetId(), Incarnation: r.node.GetIncarnation(), Reports: batch}
	var answers *tandemv1.ReportResponse
	err := r.coordinators.until(ctx, reportTime, func(ctx context.Context, client tandemv1connect.AgentServiceClient) error {
		res, err := client.Report(ctx, connect.NewRequest(req))
		if err != nil {
			return err
		}
		answers = res.Msg
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("send reports: %w", err)
	}
	return answers, nil
}

// leave sends what is queued, then says that the agent is about to stop.
func (r *reporter) leave(ctx context.Context) error {
	if err := r.queue.drained(ctx); err != nil {
		return fmt.Errorf("send the last reports: %w", err)
	}
	req := &tandemv1.ReportRequest{NodeId: r.node.GetId(), Incarnation: r.node.GetIncarnation(), Leaving: true}
	err := r.coordinators.until(ctx, reportTime, func(ctx context.Context, client tandemv1connect.AgentServiceClient) error {
		_, err := client.Report(ctx, connect.NewRequest(req))
		return err
	})
	if err != nil {
		return fmt.Errorf("say that the agent stops: %w", err)
	}
	return nil
}

// handleAnswers acts on the answers. That a generation is over is in the order of things; any other refusal is not.
func (r *reporter) handleAnswers(batch []*tandemv1.EngineReport, answers *tandemv1.ReportResponse) {
	refusals, over := answers.GetRefusals(), answers.GetOver()
	for i, report := range batch {
		if i >= len(refusals) || refusals[i] == "" {
			r.metrics.reports.WithLabelValues("taken").Inc()
			continue
		}
		r.metrics.reports.WithLabelValues("refused").Inc()
		level := zerolog.WarnLevel
		if i < len(over) && over[i] {
			level = zerolog.InfoLevel
		}
		r.log.WithLevel(level).Str("engine", report.GetEngineId()).Int64("gen", report.GetGeneration()).Str("reason", refusals[i]).
			Msg("report refused; its engine is killed if it is still there")
		r.fence(report.GetEngineId())
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
