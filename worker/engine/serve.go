package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/version"
	"tandem.dev/worker/line"
	"tandem.dev/worker/serve"
)

// serve does the task of a replica: until the engine is told to end.
func (e *engine) serve(ctx context.Context, store storage.Store) (*tandemv1.EngineReport, error) {
	t := e.task.GetServe()
	on, err := bestDevice()
	if err != nil {
		return nil, err
	}
	config := serve.DefaultConfig()
	config.Model, config.Version = t.GetModel(), strconv.FormatInt(t.GetVersion(), 10)
	if d := e.hello.GetInferDeadline().AsDuration(); d > 0 {
		config.Deadline = d
	}
	dog := e.watch(loadLimit)
	log := e.log.With().Str("model", t.GetModel()).Int64("version", t.GetVersion()).Logger()
	replica, err := serve.Load(ctx, store, t, func(file []byte) (version.Model, error) { return loadPredictor(file, on, dog) }, config, log)
	if err != nil {
		return nil, err
	}
	listener, err := net.FileListener(os.NewFile(line.Descriptor+1, "serve")) // inherited, beside the line
	if err != nil {
		return nil, fmt.Errorf("listen for requests: %w", err)
	}
	// Requests that come before the report wait in the socket's queue.
	ready := &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}}
	if err := e.host.Report(ctx, ready); err != nil {
		listener.Close()
		return nil, err
	}
	log.Info().Str("device", on.String()).Msg("replica is ready")
	if err := replica.Serve(ctx, listener); err != nil {
		return nil, err
	}
	return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{}}}, nil
}
