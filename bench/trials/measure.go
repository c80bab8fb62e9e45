package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// trials measures the time that a sweep of many short trials loses.
func trials(ctx context.Context, cl *cluster, c Config) ([]Figure, error) {
	for _, a := range cl.agents {
		a.reset(c.Length)
	}
	// Some wait for slots, so that a slot does not wait for the search.
	concurrent := min(1000, c.Slots+max(c.Slots/2, 8))
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return nil, fmt.Errorf("make the profile: %w", err)
		}
		defer func() { _ = f.Close() }() // for people who look at it
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, fmt.Errorf("make the profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	begun := time.Now()
	id, err := cl.submit(ctx, "trials", c.Trials, concurrent)
	if err != nil {
		return nil, err
	}
	job, err := cl.await(ctx, id)
	if err != nil {
		return nil, err
	}
	took := time.Since(begun)
	if job.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED {
		return nil, fmt.Errorf("the sweep is %v: %s", job.GetState(), job.GetReason())
	}
	ideal := time.Duration(float64(c.Trials) / float64(c.Slots) * float64(c.Length))
	lost := 100 * (1 - ideal.Seconds()/took.Seconds())
	return []Figure{{
		Name: "sweep.trials.lost", Unit: "% of the time", Ours: lost, Goal: "<= 5", Met: lost <= 5,
		Setting: fmt.Sprintf("%d trials of %s on %d slots of %d agents: %.1f s, %.1f s of training each slot", c.Trials, c.Length,
			c.Slots, c.Nodes, took.Seconds(), ideal.Seconds()),
	}}, nil
}

// await follows a job to its end.
func (cl *cluster) await(ctx context.Context, id string) (*tandemv1.Job, error) {
	jobs := tandemv1connect.NewJobServiceClient(cl.admin, cl.url(0))
	w, err := jobs.WatchJob(ctx, connect.NewRequest(&tandemv1.WatchJobRequest{Id: id}))
	if err != nil {
		return nil, fmt.Errorf("watch the sweep: %w", err)
	}
	var last *tandemv1.Job
	for w.Receive() {
		last = w.Msg().GetJob()
	}
	return last, errors.Join(w.Err(), w.Close())
}

// reports measures how long a report takes to be durable, and how many are in a second.
func reports(ctx context.Context, cl *cluster, c Config) ([]Figure, error) {
	id, err := cl.submit(ctx, "reports", c.Slots, c.Slots)
	if err != nil {
		return nil, err
	}
	engines, err := cl.trainAll(ctx, c.Slots)
	if err != nil {
		return nil, err
	}
	// One at a time, of one trial after the other, by the agent that each is on.
	var took []float64
	step := int64(0)
	for n := range c.Reports {
		i := n % len(cl.agents)
		mine := engines[i]
		if n%len(cl.agents) == 0 {
			step++
		}
		begun := time.Now()
		if err := cl.agents[i].report(ctx, evaluation(mine[int(step)%len(mine)], step)); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		took = append(took, float64(time.Since(begun).Microseconds())/1000)
	}
	slices.Sort(took)
	rate, err := cl.flood(ctx, engines, c.Reports*10, step)
	if err != nil {
		return nil, err
	}
	if err := cl.cancel(ctx, id); err != nil {
		return nil, err
	}
	setting := fmt.Sprintf("%d coordinators on loopback, logs on disk, %d agents", coordinators, c.Nodes)
	median := took[len(took)/2]
	return []Figure{
		{Name: "report.acknowledged", Unit: "ms (median)", Ours: median, Goal: "< 10", Met: median < 10,
			Setting: setting + fmt.Sprintf(", p99 %.1f ms", took[len(took)*99/100])},
		{Name: "report.rate", Unit: "reports/s", Ours: rate, Goal: ">= 1000", Met: rate >= 1000, Setting: setting},
	}, nil
}

// trainAll waits until so many trials train and returns their engines by agent.
func (cl *cluster) trainAll(ctx context.Context, n int) ([][]*tandemv1.EngineReport, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		var engines [][]*tandemv1.EngineReport
		total := 0
		for _, a := range cl.agents {
			engines = append(engines, a.training())
			total += len(engines[len(engines)-1])
		}
		if total >= n {
			return engines, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit:
			return nil, fmt.Errorf("only %d of %d trials train after %s", total, n, patience)
		case <-tick.C:
		}
	}
}

// flood lets all engines report as fast as their agents take it, each report with an answer of its own, and returns how many there were in a second.
func (cl *cluster) flood(ctx context.Context, engines [][]*tandemv1.EngineReport, n int, step int64) (float64, error) {
	const clients = 8 // of each agent
	each := max(1, n/(clients*len(cl.agents)))
	var wg sync.WaitGroup
	errs := make([]error, clients*len(cl.agents))
	begun := time.Now()
	for i, a := range cl.agents {
		for k := range clients {
			wg.Go(func() {
				mine := engines[i][k%len(engines[i])]
				for r := range each {
					if err := a.report(ctx, evaluation(mine, step+1+int64(r*clients+k))); err != nil {
						errs[i*clients+k] = fmt.Errorf("report: %w", err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	return float64(each*clients*len(cl.agents)) / time.Since(begun).Seconds(), errors.Join(errs...)
}

func (cl *cluster) cancel(ctx context.Context, id string) error {
	jobs := tandemv1connect.NewJobServiceClient(cl.admin, cl.url(0))
	_, err := jobs.SetJobIntent(ctx, connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: id,
		Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL}))
	if err != nil {
		return fmt.Errorf("cancel the sweep: %w", err)
	}
	return nil
}
