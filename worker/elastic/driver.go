package elastic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Outcome says how Train ended without an error.
type Outcome int

// The outcomes.
const (
	Finished  Outcome = iota + 1 // all steps are done and kept, on all ranks
	Stopped                      // stopped at a step boundary with a checkpoint, on all ranks
	Regrouped                    // all ranks let go of the group at the same step, as asked
)

// Work is what a member does. Prepare, Join, Train and Leave are called by one goroutine, the others at any time by
// another. Errors that match ErrBroken mean that the group does not work any more; the state is that after Step.
type Work interface {
	// Prepare loads what does not depend on the group.
	Prepare(ctx context.Context) error
	// Join forms a group and makes the state of all ranks the same. It returns the optimizer steps of that state.
	Join(ctx context.Context, g Group) (step int64, err error)
	// Train trains in the group that was joined last.
	Train(ctx context.Context) (Outcome, error)
	// Leave lets go of the group, whatever state that is in.
	Leave()
	// Step returns the optimizer steps done, when no other call is under way.
	Step() int64
	// Abort ends what waits in the present group. The contexts of Join and Train end as well.
	Abort(why string)
	// Move and Stop ask the ranks to end Train at a step boundary they agree on, with Regrouped and Stopped.
	Move()
	Stop()
}

// ErrBroken: the group does not work any more.
var ErrBroken = errors.New("the process group does not work any more")

// ErrHung: a deadline passed; it comes with ErrBroken.
var ErrHung = errors.New("a rank hangs")

// UnreachableError says which nodes with ranks of the group were not reached; it comes with ErrBroken.
type UnreachableError struct {
	Peers  []Unreached
	Within time.Duration
}

// Error implements error.
func (e *UnreachableError) Error() string {
	var names []string
	advice := "check the network between the nodes"
	for _, p := range e.Peers {
		if p.Filtered {
			names = append(names, fmt.Sprintf("the engine on %s (%s), whose agent answers", p.Name, p.Engine))
			advice = "open the ports between the nodes that the system gives to engines"
			continue
		}
		names = append(names, fmt.Sprintf("%s (%s)", p.Name, p.Address))
	}
	return fmt.Sprintf("no connection to %s within %v: %s", strings.Join(names, ", "), e.Within, advice)
}

// Reporter tells the coordinator. A call returns when the report is safe with the agent.
type Reporter interface {
	Ready(ctx context.Context) error
	Broken(ctx context.Context, b ReportBroken) error
}

// Deps of a Driver.
type Deps struct {
	Work     Work
	Reporter Reporter
	Log      zerolog.Logger
}

// Driver drives the work by the machine's decisions.
type Driver struct {
	Deps

	mu      sync.Mutex
	machine Machine
	queue   []Action      // for the goroutine that works
	kick    chan struct{} // something was queued
	cancel  context.CancelCauseFunc
	aborted string // why the present group was aborted; empty: it was not
}

// NewDriver makes a driver.
func NewDriver(d Deps) *Driver {
	return &Driver{Deps: d, kick: make(chan struct{}, 1), cancel: func(error) {}}
}

// Order takes orders; any goroutine may call it.
func (d *Driver) Order(o Orders) { d.handle(Ordered{o}) }

// Run works until the member has nothing more to do. Any error but those of a broken group ends it.
func (d *Driver) Run(ctx context.Context) (End, error) {
	if err := d.Work.Prepare(ctx); err != nil {
		return End{}, err
	}
	d.handle(Prepared{})
	for {
		act, err := d.next(ctx)
		if err != nil {
			return End{}, err
		}
		switch act := act.(type) {
		case ReportReady:
			err = d.Reporter.Ready(ctx)
		case ReportBroken:
			err = d.Reporter.Broken(ctx, act)
		case Join:
			err = d.join(ctx, act.Group)
		case Train:
			err = d.train(ctx)
		case End:
			return act, nil
		}
		if err != nil {
			return End{}, err
		}
	}
}

// handle lets the machine decide. What concerns the present group is done at once, the rest is left to Run.
func (d *Driver) handle(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, act := range d.machine.Handle(e) {
		switch act := act.(type) {
		case Abort:
			d.Log.Info().Str("reason", act.Why).Msg("letting go of the process group")
			d.aborted = act.Why
			d.cancel(fmt.Errorf("%w: %s", ErrBroken, act.Why))
			d.Work.Abort(act.Why)
		case Move:
			d.Work.Move()
		case Stop:
			d.Work.Stop()
		default:
			if _, join := act.(Join); join {
				d.aborted = "" // from here on an abort is about the new group
			}
			d.queue = append(d.queue, act)
			select {
			case d.kick <- struct{}{}:
			default:
			}
		}
	}
}

func (d *Driver) next(ctx context.Context) (Action, error) {
	for {
		d.mu.Lock()
		if len(d.queue) > 0 {
			act := d.queue[0]
			d.queue = d.queue[1:]
			d.mu.Unlock()
			return act, nil
		}
		d.mu.Unlock()
		select {
		case <-d.kick:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// within gives a call a context that Abort ends.
func (d *Driver) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cancel = cancel
	if d.aborted != "" { // between two calls
		cancel(fmt.Errorf("%w: %s", ErrBroken, d.aborted))
	}
	return ctx, func() { cancel(nil) }
}

func (d *Driver) join(ctx context.Context, g Group) error {
	d.Log.Info().Int64("gen", g.Generation).Int("rank", g.Rank).Int("world", g.World).Msg("joining a process group")
	in, done := d.within(ctx)
	defer done()
	step, err := d.Work.Join(in, g)
	if err != nil {
		return d.broke(ctx, err)
	}
	d.handle(Joined{step})
	return nil
}

func (d *Driver) train(ctx context.Context) error {
	in, done := d.within(ctx)
	defer done()
	outcome, err := d.Work.Train(in)
	if err != nil {
		return d.broke(ctx, err)
	}
	d.Work.Leave()
	if outcome == Regrouped {
		d.handle(Moved{d.Work.Step()})
		return nil
	}
	d.handle(Done{d.Work.Step(), outcome == Stopped})
	return nil
}

// broke lets go of a group that does not work any more. It returns an error that is another matter.
func (d *Driver) broke(ctx context.Context, err error) error {
	d.mu.Lock()
	aborted := d.aborted
	d.mu.Unlock()
	if ctx.Err() != nil || !errors.Is(err, ErrBroken) && aborted == "" {
		return err
	}
	d.Log.Warn().Err(err).Int64("step", d.Work.Step()).Msg("the process group broke; waiting for the next generation")
	d.Work.Leave()
	message := err.Error()
	if aborted != "" {
		message = aborted
	}
	var cut *UnreachableError
	var unreachable []Unreached
	if errors.As(err, &cut) {
		unreachable = cut.Peers
	}
	d.handle(Broke{d.Work.Step(), message, errors.Is(err, ErrHung), unreachable})
	return nil
}
