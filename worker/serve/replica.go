package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/worker/publish"
)

// Config of a Replica.
type Config struct {
	Model         string // name that requests use
	Version       string // number that requests use
	MaxBytes      int64  // of a request's body
	MaxRows       int    // of a request
	MaxAnswer     int64  // bytes of an answer's body, reckoned before it is made
	Concurrency   int    // requests computed at a time
	Queue         int    // requests that wait for that
	ShutdownGrace time.Duration
}

// DefaultConfig returns the limits of a replica that computes with one request at a time.
func DefaultConfig() Config {
	return Config{MaxBytes: 32 << 20, MaxRows: 4096, MaxAnswer: 64 << 20, Concurrency: 1, Queue: 64, ShutdownGrace: 4 * time.Second}
}

// Replica answers requests for one version.
type Replica struct {
	Config
	manifest publish.Manifest
	model    publish.Model
	log      zerolog.Logger
	places   chan struct{} // computed or waiting
	compute  chan struct{}
}

// Load reads a version, verifies it and asks it its probes.
func Load(ctx context.Context, store storage.Store, task *tandemv1.ServeTask, load func([]byte) (publish.Model, error), c Config, log zerolog.Logger) (*Replica, error) {
	v, err := publish.Open(ctx, store, task.GetVersionPrefix(), task.GetManifestSha256())
	if err != nil {
		return nil, err
	}
	file, err := v.Read(ctx, publish.ModelFile)
	if err != nil {
		return nil, err
	}
	questions, err := v.Read(ctx, publish.ProbesFile)
	if err != nil {
		return nil, err
	}
	probes, err := publish.ParseProbes(questions, v.Manifest)
	if err != nil {
		return nil, err
	}
	model, err := load(file)
	if err != nil {
		return nil, err
	}
	if err := publish.CheckProbes(model, v.Manifest, probes); err != nil {
		return nil, err
	}
	return New(model, v.Manifest, c, log), nil
}

// New makes a replica of a model that is known to be sound.
func New(model publish.Model, m publish.Manifest, c Config, log zerolog.Logger) *Replica {
	return &Replica{
		Config: c, manifest: m, model: model, log: log,
		places: make(chan struct{}, c.Concurrency+c.Queue), compute: make(chan struct{}, c.Concurrency),
	}
}

// Serve answers requests until ctx ends, then finishes those that were taken.
func (r *Replica) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           r.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
	}
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.ShutdownGrace)
		defer cancel()
		stopped <- server.Shutdown(grace)
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		release()
		return fmt.Errorf("serve %s: %w", r.Model, err)
	}
	return <-stopped
}

var errBusy = errors.New("too many requests are waiting; try again, or deploy more replicas")

// answer computes rows, waiting for its turn.
func (r *Replica) answer(ctx context.Context, raw []float32, rows int) ([]float32, error) {
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	default:
		return nil, errBusy
	}
	select {
	case r.compute <- struct{}{}:
		defer func() { <-r.compute }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return publish.Answer(r.model, r.manifest, raw, rows)
}
