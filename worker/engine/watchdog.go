package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/train"
)

const (
	// stepLimit is how long one call of a model may take where the spec does not say.
	stepLimit = 30 * time.Minute
	// loadLimit is how long a replica may take to read its model, or to answer one probe.
	loadLimit = 10 * time.Minute
)

// limitOf is limits.step of a spec, which its coordinator has checked.
func limitOf(spec *tandemv1.JobSpec) time.Duration {
	if d, err := time.ParseDuration(spec.GetLimits().GetStep()); err == nil && d > 0 {
		return d
	}
	return stepLimit
}

// watchdog looks at calls into a model from beside, for a call into libtorch cannot be ended but with its process. The engine itself
// goes on saying that it lives, so nobody else finds out. A nil watchdog looks at nothing.
type watchdog struct {
	limit time.Duration

	mu    sync.Mutex
	what  string    // the call that is going on
	since time.Time // its begin; zero: there is none
}

// call runs one call.
func (w *watchdog) call(what string, f func() error) error {
	if w == nil {
		return f()
	}
	w.set(what, time.Now())
	defer w.set("", time.Time{})
	return f()
}

func (w *watchdog) set(what string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what, w.since = what, since
}

// run tells late, once, of a call that takes longer than the limit, until ctx ends.
func (w *watchdog) run(ctx context.Context, late func(error)) {
	tick := time.NewTicker(min(time.Second, w.limit/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := w.check(); err != nil {
				late(err)
				return
			}
		}
	}
}

func (w *watchdog) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || time.Since(w.since) <= w.limit {
		return nil
	}
	return train.Permanent(fmt.Errorf("the model did not come back from %s within %v (limits.step): see whether it loops for this data, or raise the limit", w.what, w.limit))
}
