package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/proto/inference"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/version"
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
	Deadline      time.Duration // that a request may be computed for; one that takes longer ends the replica
}

// DefaultConfig returns the limits of a replica that computes with one request at a time.
func DefaultConfig() Config {
	return Config{
		MaxBytes: inference.MaxBody, MaxRows: inference.MaxRows, MaxAnswer: inference.MaxAnswer,
		Concurrency: 1, Queue: 64, ShutdownGrace: 4 * time.Second, Deadline: 30 * time.Second,
	}
}

// Replica answers requests for one version.
type Replica struct {
	Config
	manifest version.Manifest
	model    version.Model
	log      zerolog.Logger
	places   chan struct{} // computed or waiting
	compute  chan struct{}
	stuck    chan struct{} // closed when a request did not come back by its deadline
	stick    sync.Once     // closes stuck
}

// Load reads a version, verifies it and asks it its probes.
func Load(ctx context.Context, store storage.Store, task *tandemv1.ServeTask, load func([]byte) (version.Model, error), c Config, log zerolog.Logger) (*Replica, error) {
	v, err := version.Open(ctx, store, task.GetVersionPrefix(), task.GetManifestSha256())
	if err != nil {
		return nil, err
	}
	file, err := v.Read(ctx, version.ModelFile)
	if err != nil {
		return nil, err
	}
	questions, err := v.Read(ctx, version.ProbesFile)
	if err != nil {
		return nil, err
	}
	probes, err := version.ParseProbes(questions, v.Manifest)
	if err != nil {
		return nil, err
	}
	model, err := load(file)
	if err != nil {
		return nil, err
	}
	if err := version.CheckProbes(model, v.Manifest, probes); err != nil {
		return nil, err
	}
	return New(model, v.Manifest, c, log), nil
}

// New makes a replica of a model that is known to be sound.
func New(model version.Model, m version.Manifest, c Config, log zerolog.Logger) *Replica {
	return &Replica{
		Config: c, manifest: m, model: model, log: log,
		places: make(chan struct{}, c.Concurrency+c.Queue), compute: make(chan struct{}, c.Concurrency),
		stuck: make(chan struct{}),
	}
}

// Serve answers requests until ctx ends, then finishes those that were taken. ErrStuck when the model did not come back: the process
// cannot end that call, so it has to end itself.
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
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-r.stuck: // those that wait are told so
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = server.Shutdown(grace) // it ends in any case
		case <-over:
		}
	})
	err := server.Serve(l)
	close(over)
	watch.Wait()
	select {
	case <-r.stuck:
		release()
		return fmt.Errorf("%w within %v: see which input it hangs for; the replica is started again", ErrStuck, r.Deadline)
	default:
	}
	if !errors.Is(err, http.ErrServerClosed) {
		release()
		return fmt.Errorf("serve %s: %w", r.Model, err)
	}
	return <-stopped
}

var (
	// ErrStuck: the model did not come back from a request by its deadline.
	ErrStuck = errors.New("the model did not answer a request")

	errBusy    = errors.New("too many requests are waiting; try again, or deploy more replicas")
	errLate    = errors.New("the model did not answer in time, so its replica is started again; send fewer rows at a time, or another input")
	errRestart = errors.New("the model hangs in another request, so this replica is started again; try again in a moment")
)

// answer computes rows, waiting for its turn. A model that does not come back by the deadline is left alone with its place.
func (r *Replica) answer(ctx context.Context, raw []float32, rows int) ([]float32, error) {
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	default:
		return nil, errBusy
	}
	select {
	case r.compute <- struct{}{}:
	case <-r.stuck:
		return nil, errRestart
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	type answer struct {
		out []float32
		err error
	}
	answers := make(chan answer, 1)
	go func() { // ends with the model's call, or with the process
		out, err := version.Answer(r.model, r.manifest, raw, rows)
		answers <- answer{out, err}
		<-r.compute
	}()
	deadline := time.NewTimer(r.Deadline)
	defer deadline.Stop()
	select {
	case a := <-answers:
		return a.out, a.err
	case <-deadline.C:
		r.stick.Do(func() { close(r.stuck) })
		return nil, errLate
	case <-r.stuck:
		return nil, errRestart
	}
}
