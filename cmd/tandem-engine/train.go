package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/data"
	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

// collectiveTimeout is the backstop for a hung rank; a dead one is noticed at once.
const collectiveTimeout = 2 * time.Minute

// uploadGrace is how long a failed training goes on with a checkpoint that was under way.
const uploadGrace = 3 * time.Second

// train does the task of one rank.
func (e *engine) train(ctx context.Context, store storage.Store) (*tandemv1.EngineReport, error) {
	// libtorch keeps thread pools and modes per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := e.task.GetTrain()
	r := &rank{engine: e, task: t, store: store}
	r.log = e.log.With().Str("job", t.GetJobId()).Str("trial", t.GetTrialId()).Int32("rank", t.GetRank()).Logger()
	defer r.close()
	loop, err := r.prepare(ctx)
	if err != nil {
		return nil, r.failed(ctx, err)
	}
	if r.group != nil {
		// A signal must not wait for a collective.
		release := context.AfterFunc(ctx, func() { r.group.Abort("the engine was told to end") })
		defer release()
	}
	outcome, err := loop.Run(ctx)
	if err != nil {
		return nil, r.failed(ctx, err)
	}
	if outcome == train.Stopped {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: loop.Step()}}}, nil
	}
	return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}, nil
}

// rank is what one rank holds while it trains.
type rank struct {
	*engine
	task  *tandemv1.TrainTask
	store storage.Store
	log   zerolog.Logger

	module  *torch.Module
	group   *torch.Group // nil for a single rank
	trainer *torch.Trainer
	keeper  *checkpoint.Keeper
	set     *data.Set
	feed    *data.Feed
}

// prepare checks all that can be wrong with the task, meets the other ranks and puts the loop together.
func (r *rank) prepare(ctx context.Context) (*train.Loop, error) {
	spec := r.task.GetSpec()
	err := r.persist(ctx, r.waiting(), func() (err error) {
		r.set, err = data.Load(ctx, r.store, r.task.GetDatasetPrefix(), r.reading())
		return err
	})
	if err != nil {
		return nil, err
	}
	set := r.set
	plan, err := train.NewPlan(spec, set.Manifest)
	if err != nil {
		return nil, err
	}
	order, err := data.NewOrder(set.Source(data.Train).Len(), plan.Batch, plan.Seed)
	if err != nil {
		return nil, train.Permanent(err)
	}
	r.feed = data.NewFeed(set.Source(data.Train), order)
	on, err := bestDevice()
	if err != nil {
		return nil, err
	}
	err = r.persist(ctx, r.waiting(), func() (err error) {
		r.module, err = buildModel(ctx, r.store, spec, set.Manifest.Shape, set.Manifest.Outputs())
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := checkModel(ctx, r.module, set.Source(data.Train), set.Manifest.OutputShape()); err != nil {
		return nil, err
	}
	if r.group, err = r.join(ctx, r.task, on); err != nil {
		return nil, err
	}
	if r.trainer, err = torch.NewTrainer(trainerConfig(spec, plan, r.module, r.group, on)); err != nil {
		return nil, peerLost(err)
	}
	if err := r.trainer.SyncState(0); err != nil {
		return nil, peerLost(err)
	}
	keep := checkpoint.Deps{Store: r.store, Log: r.log, Report: r.reportCheckpoint}
	deps := train.Deps{
		Trainer: trainer{r.trainer}, Batches: r.feed, Validation: data.NewSlices(set.Source(data.Validation)),
		Reporter: r.host, Stop: r.stop, Now: time.Now, Log: r.log,
	}
	if r.group != nil {
		deps.Group, keep.Group = group{r.group}, group{r.group}
	}
	r.keeper = checkpoint.New(checkpoint.Config{
		Job: r.task.GetJobId(), Trial: r.task.GetTrialId(), SpecHash: r.task.GetSpecHash(), DatasetID: spec.GetDatasetId(),
		Prefix: r.task.GetCheckpointPrefix(), Generation: r.engine.task.GetGeneration(), Rank: int(r.task.GetRank()), World: int(r.task.GetWorldSize()), Resume: r.task.GetResume(),
		Spool: filepath.Join(r.hello.GetScratch(), "spool"),
	}, keep)
	deps.Checkpoints = r.keeper
	return train.New(train.Config{Plan: plan, Rank: int(r.task.GetRank()), World: int(r.task.GetWorldSize())}, deps)
}

// splitMemory is how many bytes a split may take in memory; a larger one is streamed.
const splitMemory = 256 << 20

// reading says how the splits are read.
func (r *rank) reading() data.Options {
	return data.Options{
		Splits: []string{data.Train, data.Validation}, Memory: splitMemory,
		Cache: data.Cache{Dir: r.hello.GetCache(), Bytes: r.hello.GetCacheBytes()},
		Full: func(split string) {
			r.log.Warn().Str("split", split).Int64("bytes", r.hello.GetCacheBytes()).
				Msg("the dataset does not fit the node's cache, so rows are read one by one from the store, which may be slow; raise --data-cache-mib of the worker")
		},
	}
}

// waiting is what a rank shows while it cannot begin without the store; nil for nothing.
func (r *rank) waiting() *tandemv1.Progress {
	if r.task.GetRank() != 0 {
		return nil
	}
	return &tandemv1.Progress{Step: r.task.GetResume().GetStep(), Phase: train.PhaseStorage}
}

func (r *rank) reportCheckpoint(ctx context.Context, c *tandemv1.Checkpoint) error {
	return r.host.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: c}}})
}

// failed tells a failure before the sockets close, and nothing after it.
func (r *rank) failed(ctx context.Context, err error) error {
	if r.keeper != nil {
		grace, cancel := context.WithTimeout(ctx, uploadGrace)
		defer cancel()
		r.keeper.Close(grace)
	}
	return r.engine.failed(ctx, err)
}

func (r *rank) close() {
	if r.feed != nil {
		r.feed.Close()
	}
	if r.set != nil {
		r.set.Close()
	}
	if r.trainer != nil {
		r.trainer.Close()
	}
	if r.group != nil {
		r.group.Close()
	}
	if r.module != nil {
		r.module.Close()
	}
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
	return torch.TrainerConfig{
		Module: m, Group: g, Device: on, Loss: torch.LossKind(plan.Loss), ClipNorm: spec.GetTraining().GetClipNorm(),
		Optimizer: torch.OptimizerConfig{
			Kind: torch.OptimizerKind(o.GetName()), Momentum: o.GetMomentum(), Nesterov: o.GetNesterov(), WeightDecay: o.GetWeightDecay(),
			Beta1: o.GetBeta1(), Beta2: o.GetBeta2(), Epsilon: o.GetEps(),
		},
	}
}
