package engine

import (
	"context"
	"runtime"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/metric"
	"tandem.dev/worker/publish"
	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

// publish does the task of turning a checkpoint into a version.
func (e *engine) publish(ctx context.Context, store storage.Store) (*tandemv1.EngineReport, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	build, err := torch.Build()
	if err != nil {
		return nil, err
	}
	ready := &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}}
	if err := e.host.Report(ctx, ready); err != nil {
		return nil, err
	}
	record, end := e.recording(store, e.task.GetPublish().GetTrialId())
	defer end()
	record.Enter(metric.Evaluate, time.Now())
	step := e.task.GetPublish().GetCheckpoint().GetStep()
	e.host.Progress(&tandemv1.Progress{Step: step, Phase: "publishing"})
	publisher := publish.New(e.task.GetPublish(), publish.Deps{Store: store, Engine: exporter{store, build.Torch, e.watch(limitOf(e.task.GetPublish().GetSpec()))}, Log: e.log})
	var saved *tandemv1.VersionSaved
	err = e.persist(ctx, func() { e.host.Progress(&tandemv1.Progress{Step: step, Phase: train.PhaseStorage}) }, func() (err error) {
		saved, err = publisher.Run(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := e.host.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Version{Version: saved}}); err != nil {
		return nil, err
	}
	return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}, nil
}
