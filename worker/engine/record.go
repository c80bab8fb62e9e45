package engine

import (
	"context"
	"sync"
	"time"

	"tandem.dev/storage"
	"tandem.dev/worker/metric"
	"tandem.dev/worker/train"
)

// recording takes down where the time of this engine goes, and stores it beside the work until end is called. It does so for a
// trial's engines only.
func (e *engine) recording(store storage.Store, trial string) (r *train.Recorder, end func()) {
	r = train.NewRecorder(e.recorderConfig(trial), time.Now())
	writer := metric.New(metric.DefaultConfig(), metric.Deps{Source: r, Store: store, Log: e.log})
	ctx, cancel := context.WithCancel(context.Background()) // the last records are those of the end
	var writing sync.WaitGroup
	writing.Go(func() { writer.Run(ctx) })
	return r, func() {
		cancel()
		writing.Wait()
	}
}

func (e *engine) recorderConfig(trial string) train.RecorderConfig {
	return train.RecorderConfig{Trial: trial, Member: e.task.GetId(), Node: e.hello.GetNodeId()}
}
