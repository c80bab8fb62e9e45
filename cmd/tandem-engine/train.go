package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/data"
	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

// collectiveTimeout is the backstop for a hung rank; a dead one is noticed at once. It is
// longer than rank 0 may wait for the store.
const collectiveTimeout = 2 * time.Minute

// uploadGrace is how long a failed training goes on with a checkpoint that was under way.
const uploadGrace = 3 * time.Second

// train does the task of one rank.
func (e *engine) train(ctx context.Context, store storage.Store) (_ *tandemv1.EngineReport, err error) {
	// libtorch keeps thread pools and modes per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := e.task.GetTrain()
	log := e.log.With().Str("job", t.GetJobId()).Str("trial", t.GetTrialId()).Int32("rank", t.GetRank()).Logger()
	set, err := data.Load(ctx, store, t.GetDatasetPrefix(), data.Options{Splits: []string{data.Train, data.Validation}})
	if err != nil {
		return nil, err
	}
	plan, err := train.NewPlan(t.GetSpec(), set.Manifest)
	if err != nil {
		return nil, err
	}
	on, err := bestDevice()
	if err != nil {
		return nil, err
	}
	module, err := buildModel(ctx, store, t.GetSpec(), set.Manifest.Shape, set.Manifest.Outputs())
	if err != nil {
		return nil, err
	}
	defer module.Close()
	if err := checkModel(module, set.Split(data.Train), set.Manifest.Outputs()); err != nil {
		return nil, err
	}
	ranks, err := e.join(ctx, t, on)
	if err != nil {
		return nil, err
	}
	// The failure is told before the sockets close, and nothing after it.
	var native *torch.Trainer
	var keeper *checkpoint.Keeper
	defer func() {
		if err != nil {
			if keeper != nil {
				grace, cancel := context.WithTimeout(ctx, uploadGrace)
				keeper.Close(grace)
				cancel()
			}
			err = e.failed(ctx, err)
		}
		if native != nil {
			native.Close()
		}
		if ranks != nil {
			ranks.Close()
		}
	}()
	native, err = torch.NewTrainer(trainerConfig(t.GetSpec(), plan, module, ranks, on))
	if err != nil {
		return nil, peerLost(err)
	}
	deps := train.Deps{Trainer: trainer{native}, Reporter: e.host, Stop: e.stop, Now: time.Now, Log: log}
	keep := checkpoint.Deps{Store: store, Log: log, Report: func(ctx context.Context, c *tandemv1.Checkpoint) error {
		return e.host.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: c}}})
	}}
	if ranks != nil {
		deps.Group, keep.Group = group{ranks}, group{ranks}
		// A signal must not wait for a collective.
		release := context.AfterFunc(ctx, func() { ranks.Abort("the engine was told to end") })
		defer release()
	}
	keeper = checkpoint.New(checkpoint.Config{
		Job: t.GetJobId(), Trial: t.GetTrialId(), SpecHash: t.GetSpecHash(), DatasetID: t.GetSpec().GetDatasetId(),
		Prefix: t.GetCheckpointPrefix(), Generation: e.task.GetGeneration(), Rank: int(t.GetRank()), Resume: t.GetResume(),
	}, keep)
	deps.Checkpoints = keeper
	loop, err := train.New(train.Config{
		Plan: plan, Rank: int(t.GetRank()), World: int(t.GetWorldSize()),
		Train: set.Split(data.Train), Validation: set.Split(data.Validation),
	}, deps)
	if err != nil {
		return nil, err
	}
	outcome, err := loop.Run(ctx)
	if err != nil {
		return nil, err
	}
	if outcome == train.Stopped {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: loop.Step()}}}, nil
	}
	return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}, nil
}

// join forms the process group; nil for a single rank.
func (e *engine) join(ctx context.Context, t *tandemv1.TrainTask, on torch.Device) (*torch.Group, error) {
	if t.GetWorldSize() == 1 {
		return nil, nil
	}
	g, err := torch.NewGroup(ctx, torch.GroupConfig{
		Rank: int(t.GetRank()), WorldSize: int(t.GetWorldSize()), Rendezvous: e.host,
		Prefix: "gen" + strconv.FormatInt(e.task.GetGeneration(), 10) + "/", BindAddress: t.GetBindHost(),
		Timeout: collectiveTimeout, Device: on,
	})
	if err != nil {
		return nil, fmt.Errorf("meet the other ranks: %w", peerLost(err))
	}
	return g, nil
}

func trainerConfig(spec *tandemv1.JobSpec, plan train.Plan, m *torch.Module, g *torch.Group, on torch.Device) torch.TrainerConfig {
	o := spec.GetTraining().GetOptimizer()
	c := torch.TrainerConfig{
		Module: m, Group: g, Device: on, Loss: torch.LossKind(plan.Loss), ClipNorm: spec.GetTraining().GetClipNorm(),
		Optimizer: torch.OptimizerConfig{
			Kind: torch.OptimizerKind(o.GetName()), Momentum: o.GetMomentum(), Nesterov: o.GetNesterov(), WeightDecay: o.GetWeightDecay(),
			Beta1: o.GetBeta1(), Beta2: o.GetBeta2(), Epsilon: o.GetEps(),
		},
	}
	if c.Optimizer.Kind == "" {
		c.Optimizer.Kind = torch.AdamW
	}
	if c.Optimizer.Kind == torch.AdamW && (o == nil || o.WeightDecay == nil) {
		c.Optimizer.WeightDecay = 0.01
	}
	return c
}
