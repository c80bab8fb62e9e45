package main

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/structpb"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// targetAccuracy on the validation split of the digits: good points of the space reach it.
	targetAccuracy = 0.985
	// searchLimit is how long a search may take to reach it; one that does not counts as so long.
	searchLimit = 3 * time.Minute
)

// accuracy measures how long searches of a network for the digits take until a trial has the target accuracy, on the two
// workers of "tandem up": the methods in turn, with the same seeds.
func accuracy(ctx context.Context, c Config) ([]Figure, error) {
	up, err := startUp(ctx)
	if err != nil {
		return nil, err
	}
	defer up.stop()
	if err := up.prepare(ctx); err != nil {
		return nil, err
	}
	methods := []struct {
		name string
		spec *tandemv1.MethodSpec
	}{
		{"random", &tandemv1.MethodSpec{Name: "random"}},
		{"asha", &tandemv1.MethodSpec{Name: "asha", Divisor: 3, Rungs: 4}},
		{"asha with tpe", &tandemv1.MethodSpec{Name: "asha", Sampler: "tpe", Divisor: 3, Rungs: 4}},
	}
	took := make([][]float64, len(methods))
	for seed := range c.Runs {
		for i, m := range methods {
			seconds, trials, err := up.timeToAccuracy(ctx, m.spec, int64(seed))
			if err != nil {
				return nil, fmt.Errorf("search with %s: %w", m.name, err)
			}
			fmt.Printf("%s, seed %d: %.1f s to an accuracy of %g, %d trials\n", m.name, seed, seconds, targetAccuracy, trials)
			took[i] = append(took[i], 1/seconds)
		}
	}
	return []Figure{
		against("search.accuracy.asha", "1/s to the accuracy", took[1], took[0], "random", 1),
		against("search.accuracy.tpe", "1/s to the accuracy", took[2], took[1], "asha", 1),
	}, nil
}

// timeToAccuracy searches until a trial has the target accuracy; it returns the seconds since the submission and the trials made.
func (up *upCluster) timeToAccuracy(ctx context.Context, method *tandemv1.MethodSpec, seed int64) (seconds float64, trials int, err error) {
	hidden, err := structpb.NewList([]any{[]any{8.0}, []any{32.0}, []any{128.0}, []any{64.0, 64.0}, []any{256.0}})
	if err != nil {
		return 0, 0, fmt.Errorf("make the space: %w", err)
	}
	res, err := up.api.Jobs.SubmitJob(ctx, connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{
		Name: "bench", Kind: "sweep", Dataset: "digits",
		Model:    &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{32}}}},
		Training: &tandemv1.TrainingSpec{Batch: 32, Epochs: 81},
		Search: &tandemv1.SearchSpec{
			Seed: seed, Method: method, MaxTrials: 500, MaxConcurrentTrials: 2,
			Space: map[string]*tandemv1.Domain{
				"training.optimizer.lr":           {Log: []float64{1e-6, 1}},
				"training.optimizer.weight_decay": {Log: []float64{1e-6, 1}},
				"training.batch":                  {Int: []int64{16, 256}, Step: 16},
				"model.mlp.dropout":               {Double: []float64{0, 0.8}},
				"model.mlp.hidden":                {Choice: hidden},
			},
		},
	}}))
	if err != nil {
		return 0, 0, fmt.Errorf("submit: %w", err)
	}
	job := res.Msg.GetJob()
	begin := job.GetCreatedAt().AsTime()
	end, err := up.firstAccurate(ctx, job.GetId(), begin)
	if err != nil {
		return 0, 0, err
	}
	sweep, err := up.api.Sweeps.ListTrials(ctx, connect.NewRequest(&tandemv1.ListTrialsRequest{Id: job.GetId()}))
	if err != nil {
		return 0, 0, fmt.Errorf("list the trials: %w", err)
	}
	_, err = up.api.Jobs.SetJobIntent(ctx, connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: job.GetId(),
		Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL}))
	if err != nil && connect.CodeOf(err) != connect.CodeFailedPrecondition { // it may have made all its trials
		return 0, 0, fmt.Errorf("cancel: %w", err)
	}
	return end.Sub(begin).Seconds(), len(sweep.Msg.GetTrials()), up.settled(ctx)
}

// firstAccurate returns when a trial of a sweep first had the target accuracy, or when the time for it was over.
func (up *upCluster) firstAccurate(ctx context.Context, id string, begin time.Time) (time.Time, error) {
	limit := begin.Add(searchLimit)
	for after := int64(0); time.Now().Before(limit); {
		res, err := up.api.Sweeps.ListSweepEvents(ctx, connect.NewRequest(&tandemv1.ListSweepEventsRequest{Id: id, After: after}))
		if err != nil {
			return limit, fmt.Errorf("list the events of the sweep: %w", err)
		}
		for _, e := range res.Msg.GetEvents() {
			after = e.GetSeq()
			if m := e.GetMeasured(); m != nil && m.GetValue() >= targetAccuracy {
				return e.GetTime().AsTime(), nil
			}
		}
		if err := client.Sleep(ctx, 200*time.Millisecond); err != nil {
			return limit, err
		}
	}
	return limit, nil
}
