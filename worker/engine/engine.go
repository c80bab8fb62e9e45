package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/relay"
	"tandem.dev/storage/version"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/data"
	"tandem.dev/worker/line"
	"tandem.dev/worker/model"
	"tandem.dev/worker/seal"
	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

// Config of an engine.
type Config struct {
	EngineID string       // id of the task
	Seal     seal.Options // what the process gives up before it has a task
}

// errOrphan: the agent is gone.
var errOrphan = errors.New("the agent is gone")

// lastWord is how long an engine that ends tries to say why.
const lastWord = 5 * time.Second

// tardy is an engine that has not ended so long after it was told to. Its agent kills it after 4 s.
const tardy = 2 * time.Second

// runEngine does one task after another, as long as the agent has one.
func runEngine(ctx context.Context, c Config, log zerolog.Logger) error {
	wire, err := line.Open(line.Descriptor)
	if err != nil {
		return err
	}
	defer wire.Close()
	if err := seal.Close(c.Seal); err != nil {
		return err
	}
	for set := false; ; set = true {
		h := newHost(c.EngineID, wire, log)
		hello, err := h.hello(ctx)
		if err != nil {
			return err
		}
		if !set {
			err = torch.Init(torch.Options{Threads: int(hello.GetThreads()), Deterministic: true})
		}
		again, err := runTask(ctx, h, hello, err, log)
		if err != nil || !again {
			return err
		}
		debug.FreeOSMemory() // the next may need all that this one had, and others may while it waits
		if c.EngineID, err = h.next(ctx, hello.GetEndOfOutput()); err != nil || c.EngineID == "" {
			return err
		}
	}
}

// runTask does one task and reports how it ended. broken is what was wrong before. again: the process may have another one.
func runTask(ctx context.Context, h *host, hello *tandemv1.HelloResponse, broken error, log zerolog.Logger) (again bool, err error) {
	e := &engine{host: h, hello: hello, task: hello.GetTask(), orders: &mailbox{}}
	e.log = log.With().Str("engine", h.id).Int64("gen", e.task.GetGeneration()).Logger()

	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside sync.WaitGroup
	defer beside.Wait()
	besideCtx, endBeside := context.WithCancel(context.WithoutCancel(ctx))
	defer endBeside()
	e.giveUp, e.beside = cancel, besideCtx
	beside.Go(func() {
		err := h.control(besideCtx, e.orders.put)
		if besideCtx.Err() == nil {
			cancel(fmt.Errorf("%w: its stream of commands ended: %w", errOrphan, errOr(err, errors.New("end of stream"))))
		}
	})
	beside.Go(func() { watchParent(besideCtx, os.Getppid(), cancel) })
	beside.Go(func() { h.sendProgress(besideCtx) })

	done := make(chan error, 1)
	go func() { done <- e.do(work, broken) }()
	select {
	case err = <-done:
	case <-work.Done():
		if cause := context.Cause(work); errors.Is(cause, errOrphan) {
			return false, cause
		}
		// A call into libtorch may not come back soon; a replica finishes what it took. Of a model that does not come back all is said.
		if e.task.GetServe() == nil && !errors.As(context.Cause(work), new(stuckError)) {
			defer time.AfterFunc(tardy, func() { dumpGoroutines(os.Stderr) }).Stop()
		}
		select {
		case err = <-done:
		case <-time.After(lastWord):
			err = errors.New("the work did not end in time")
		}
	}
	if ctx.Err() != nil {
		e.log.Info().Msg("ended by a signal")
		return false, nil
	}
	return err == nil && e.task.GetTrain().GetInSweep(), err
}

// dumpGoroutines writes what every goroutine does, for whoever has to find out why an engine does not end.
func dumpGoroutines(w io.Writer) {
	fmt.Fprintf(w, "the engine was told to end %v ago and does not; what it does:\n", tardy)
	_ = pprof.Lookup("goroutine").WriteTo(w, 2) // nobody is left to be told
}

// watch looks at the calls of a model, until the task is over. What does not come back fails the task, and the process ends.
func (e *engine) watch(limit time.Duration) *watchdog {
	w := &watchdog{limit: limit}
	go w.run(e.beside, func(err error) {
		err = e.failed(context.WithoutCancel(e.beside), err)
		e.giveUp(stuckError{err})
	})
	return w
}

// stuckError is the end of a task whose model does not come back.
type stuckError struct{ error }

// Unwrap makes it what it says.
func (e stuckError) Unwrap() error { return e.error }

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// watchParent ends the work when this process was given to another parent.
func watchParent(ctx context.Context, parent int, cancel context.CancelCauseFunc) {
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			if os.Getppid() != parent {
				cancel(fmt.Errorf("%w: the process has another parent", errOrphan))
			}
		}
	}
}

// engine does one task.
type engine struct {
	host   *host
	hello  *tandemv1.HelloResponse
	task   *tandemv1.EngineTask
	orders *mailbox        // only those of a member matter
	giveUp func(error)     // ends the work although a call of it does not come back
	beside context.Context // ends with the task
	log    zerolog.Logger
}

// do does the task and sends the last word.
func (e *engine) do(ctx context.Context, broken error) error {
	store := relay.New(e.host.line.Dial) // the part of it that the task needs
	defer store.Close()
	var end *tandemv1.EngineReport
	err := broken
	if err == nil {
		switch {
		case e.task.GetTrain() != nil:
			end, err = e.train(ctx, store)
		case e.task.GetPublish() != nil:
			end, err = e.publish(ctx, store)
		case e.task.GetServe() != nil:
			end, err = e.serve(ctx, store)
		default:
			err = train.Permanent(errors.New("the task is of a kind that this engine does not know; the engine is older than its coordinator"))
		}
	}
	if err != nil {
		return e.failed(ctx, err)
	}
	return e.host.Report(ctx, end)
}

// failed reports a failure. It is called before any connection to other ranks is closed, so
// that the cause is known before the others report a broken group.
func (e *engine) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, checkpoint.ErrStale) {
		return err // nobody waits for a word
	}
	var told *reported
	if errors.As(err, &told) {
		return err
	}
	permanent := isPermanent(err)
	entry := e.log.Error().Err(err).Bool("permanent", permanent)
	entry.Msg("the task failed")
	say, cancel := context.WithTimeout(ctx, lastWord)
	defer cancel()
	report := &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{
		Message: err.Error(), Permanent: permanent, Diverged: errors.Is(err, train.ErrDiverged), NodeFault: data.Unwritable(err),
	}}}
	if say := e.host.Report(say, report); say != nil {
		return fmt.Errorf("%w (and it could not be reported: %w)", err, say)
	}
	return &reported{err}
}

// reported is a failure that the agent knows of.
type reported struct{ error }

func (r *reported) Unwrap() error { return r.error }

// isPermanent tells whether another attempt would fail in the same way: what a user or the
// stored data brought about, not the weather.
func isPermanent(err error) bool {
	for _, bad := range []error{
		torch.ErrShape, torch.ErrModel, torch.ErrNotTorchScript, torch.ErrRefused, torch.ErrLabel, torch.ErrStateMismatch, model.ErrSpec,
		dataset.ErrCorrupt, ckpt.ErrCorrupt, ckpt.ErrForeign, version.ErrCorrupt, version.ErrProbe, version.ErrOutput,
		storage.ErrNotFound, storage.ErrInvalidKey,
	} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return train.IsPermanent(err)
}

// persist does what needs the store, and waits for one that is unavailable: an attempt that
// failed for it would only be followed by another that does. tell tells people then.
func (e *engine) persist(ctx context.Context, tell func(), act func() error) error {
	var since time.Time
	err := storage.Persist(ctx, act, func(err error) {
		since = time.Now()
		e.log.Warn().Err(err).Msg("storage is unavailable; the task waits for it")
		tell()
	})
	if err == nil && !since.IsZero() {
		e.log.Info().Int64("dur_ms", time.Since(since).Milliseconds()).Msg("storage answers again")
	}
	return err
}
