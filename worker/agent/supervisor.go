package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/data"
	"tandem.dev/worker/sandbox"
)

// lingerTime is how long an engine may take to end after its last word.
const lingerTime = 10 * time.Second

// memberGrace is how long a member may take to end whose allocation goes on without it.
const memberGrace = time.Second

// supervisorConfig is what the supervisor does not find out itself.
type supervisorConfig struct {
	binary  string
	env     []string // of every engine; what depends on the slot is added
	extra   []string // added last
	slots   []*tandemv1.Slot
	scratch string     // folder
	shards  data.Cache // of datasets
	sockets string     // folder
	limits  limits
	sandbox sandbox.Host
	users   Users                   // that engines run as
	accept  func(net.Conn, *runner) // a call of a process
	files   func(context.Context, *runner, *tandemv1.FileRequest) (*os.File, error)

	inferDeadline time.Duration
}

// supervisor makes the engines of this node be those of the desired state.
type supervisor struct {
	cfg     supervisorConfig
	starter starter
	journal journal
	reports *reportQueue
	logs    *logs
	metrics *metrics
	log     zerolog.Logger
	ask     func(ctx context.Context, socket string) error // whether a replica lives
	decided func()                                         // called after each decision, when orders may have changed; nil: not

	kick chan struct{} // something changed

	mu      sync.Mutex
	desired *tandemv1.SessionResponse
	engines map[taskKey]*engine
	done    map[taskKey]bool
	leaving bool
	empty   chan struct{} // closed once leaving and no engine is left
}

func newSupervisor(cfg supervisorConfig, st starter, j journal, q *reportQueue, l *logs, m *metrics, log zerolog.Logger) *supervisor {
	return &supervisor{
		cfg: cfg, starter: st, journal: j, reports: q, logs: l, metrics: m, log: log, ask: askLive,
		kick: make(chan struct{}, 1), empty: make(chan struct{}),
		engines: map[taskKey]*engine{}, done: map[taskKey]bool{},
	}
}

// run carries out what reconcile decides, at each change and when it asks to be woken, until ctx ends. Engines are
// ended by leave, not by ctx; ctx is also that of their log uploads.
func (s *supervisor) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wake := s.pass(ctx)
		if s.decided != nil {
			s.decided()
		}
		wait := time.Hour
		if !wake.IsZero() {
			wait = max(time.Until(wake), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-timer.C:
		}
	}
}

func (s *supervisor) wakeUp() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// want takes a desired state; one with a smaller index than seen before is ignored.
func (s *supervisor) want(desired *tandemv1.SessionResponse) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if desired.GetIndex() < s.desired.GetIndex() {
		return false
	}
	s.desired = desired
	s.logs.objects.learn(desired)
	s.wakeUp()
	return true
}

// former takes what the journal of a former agent says: its tasks had their process and have lost it.
func (s *supervisor) former(e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[e.key()] = true
	report := failureOf(e.key(), "the agent of the node was started again, which ends its engines")
	report.GetFailed().NodeStopping = true
	s.reports.pushNow(report)
}

// leave ends all engines and waits until they are gone.
func (s *supervisor) leave(ctx context.Context) error {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.wakeUp()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
		return errors.New("an engine does not end: it hangs in the kernel")
	}
}

// pass decides once and acts.
func (s *supervisor) pass(ctx context.Context) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	w := world{
		known: s.desired != nil, desired: s.desired.GetEngines(), cordoned: s.desired.GetCordoned(), done: s.done, leaving: s.leaving, limits: s.cfg.limits, slots: map[string]bool{},
	}
	for _, slot := range s.cfg.slots {
		w.slots[slot.GetId()] = true
	}
	for _, e := range s.engines {
		w.engines = append(w.engines, e.view())
	}
	actions, wake := reconcile(now, w)
	for _, a := range actions {
		at := s.act(ctx, now, a)
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	s.trim()
	if s.leaving && len(s.engines) == 0 {
		select {
		case <-s.empty:
		default:
			close(s.empty)
		}
	}
	return wake
}

// act carries out one action and says when its outcome is to be looked at. It needs mu.
func (s *supervisor) act(ctx context.Context, now time.Time, a action) time.Time {
	s.log.Info().Str("engine", a.key.id).Int64("gen", a.key.generation).Stringer("action", a.verb).Str("reason", a.reason).Msg("engine")
	e := s.engines[a.key]
	switch a.verb {
	case verbStart:
		if err := s.start(ctx, now, a.task); err != nil {
			s.cannotRun(a.task, err.Error())
			return time.Time{}
		}
		return now.Add(s.cfg.limits.hello)
	case verbHandOver:
		if err := s.handOver(ctx, now, s.engines[a.from], a.task); err != nil {
			s.cannotRun(a.task, err.Error())
			return time.Time{}
		}
	case verbRefuse:
		s.cannotRun(a.task, a.reason)
	case verbTell:
		e.tell(ordersOf(a.task))
	case verbTerminate:
		e.phase, e.termed = phaseTerminating, now
		s.blame(e, a.reason)
		e.proc.signal(syscall.SIGTERM)
		return now.Add(s.cfg.limits.grace)
	case verbKill:
		e.phase = phaseKilled
		s.blame(e, a.reason)
		e.proc.signal(syscall.SIGKILL)
	}
	return time.Time{}
}

// cannotRun reports that this node cannot run a task, which is no fault of the task. It needs mu.
func (s *supervisor) cannotRun(task *tandemv1.EngineTask, why string) {
	s.end(task, "failed")
	report := failure(task, why)
	report.GetFailed().NodeFault = true
	s.reports.pushNow(report)
}

// blame notes why the agent ends an engine, and whether the coordinator does not know that yet. It needs mu.
func (s *supervisor) blame(e *engine, reason string) {
	if e.reason != "" {
		return // the first reason is the cause
	}
	e.reason = reason
	e.quiet = reason != reasonNoHello && reason != reasonHung && reason != e.full && !s.leaving
}

// start starts the process of a task. It needs mu.
func (s *supervisor) start(ctx context.Context, now time.Time, task *tandemv1.EngineTask) error {
	e := s.newEngine(ctx, now, task)
	if err := e.makeHome(); err != nil {
		e.log.close(err.Error())
		return err
	}
	r := newRunner(e)
	r.policy = s.cfg.sandbox.Policy(need(e), sandbox.Glob)
	proc, err := s.starter.start(processSpec{
		path:   s.cfg.binary,
		name:   fileName(keyOf(task)),
		args:   arguments(task, e.slot, r.policy),
		env:    environment(s.cfg.env, s.cfg.extra, e.slot, e.threads),
		policy: r.policy, socket: e.socket,
		stdout: &r.stdout, stderr: &r.stderr,
		accept: func(conn net.Conn) { s.cfg.accept(conn, r) },
		files:  func(ctx context.Context, q *tandemv1.FileRequest) (*os.File, error) { return s.cfg.files(ctx, r, q) },
	})
	if err != nil {
		e.log.close(err.Error())
		_ = os.RemoveAll(e.scratch)
		return fmt.Errorf("%w; see that the program is there and may be executed, and that the node is not out of memory or processes", err)
	}
	r.process = proc
	s.begin(e)
	life, over := context.WithCancel(context.Background())
	go s.watchDisk(life, r)
	go func() { // ends with the process; leave waits for it
		x := proc.wait()
		over()
		s.bury(r, x)
	}()
	return nil
}

// newEngine makes what a task needs besides a process. It needs mu.
func (s *supervisor) newEngine(ctx context.Context, now time.Time, task *tandemv1.EngineTask) *engine {
	e := &engine{
		orders: ordersOf(task),
		task:   task, started: now, told: make(chan struct{}), gone: make(chan struct{}),
		scratch: filepath.Join(s.cfg.scratch, fileName(keyOf(task))), user: sandbox.Own,
	}
	for _, slot := range s.cfg.slots {
		if slot.GetId() == task.GetSlotId() {
			e.slot, e.threads = slot, int(slot.GetThreads())
		}
	}
	if isReplica(task) {
		e.socket = filepath.Join(s.cfg.sockets, "s-"+task.GetSlotId()+".sock") // short: paths of sockets are limited
	}
	if s.cfg.sandbox.Features.User {
		e.user = s.cfg.users.of(task, s.engines)
	}
	e.log = s.logs.of(ctx, task)
	return e
}

// begin takes note of an engine that has a process. It needs mu.
func (s *supervisor) begin(e *engine) {
	key := keyOf(e.task)
	s.engines[key] = e
	s.metrics.started.WithLabelValues(kindOf(e.task)).Inc()
	if e.task.GetGeneration() > 1 {
		s.metrics.restarted.Inc()
	}
	if err := s.journal.record(key, isReplica(e.task), e.proc.pid()); err != nil {
		// The parent-death signal still guards the process; only the next agent would not know of the task.
		s.log.Error().Err(err).Str("engine", e.task.GetId()).Msg("cannot write the journal of engines; check the data folder")
	}
}

// bury takes note of a process that is gone.
func (s *supervisor) bury(r *runner, x exit) {
	s.mu.Lock()
	r.dead = true // from here on it stays with this engine
	e := r.engine
	s.mu.Unlock()
	e.log.flush()
	_ = os.RemoveAll(e.scratch) // what is left goes when the agent starts
	s.mu.Lock()
	defer s.mu.Unlock()
	outcome := e.outcome
	if e.quiet && e.phase != phaseKilled && x.signal != 0 && x.signal != syscall.SIGTERM {
		// The agent was about to end it, but that is not what it died of: the ranks that missed it were heard first.
		e.quiet, e.reason = false, ""
	}
	end := ""
	switch {
	case outcome == "failed":
		end = "the task failed: " + e.failed
	case outcome != "":
	case e.quiet:
		outcome = "ended"
	default:
		outcome, end = "lost", obituary(x, e.reason, nil)
		report := failure(e.task, obituary(x, e.reason, e.log.last.last()))
		report.GetFailed().Permanent = unreadable(x)
		report.GetFailed().NodeStopping = e.reason == reasonLeaving
		report.GetFailed().Hung = e.reason == reasonHung
		// A process that has not asked for its task cannot have failed for it; one that had another before may be ill from that.
		report.GetFailed().NodeFault = !e.greeted && !e.handed && !s.leaving
		s.reports.pushNow(report)
	}
	e.log.close(end)
	s.log.Info().Str("engine", e.task.GetId()).Int64("gen", e.task.GetGeneration()).Str("trial", trialOf(e.task)).
		Stringer("exit", x).Str("outcome", outcome).Int64("dur_ms", time.Since(e.started).Milliseconds()).Msg("engine is gone")
	s.leaveTask(e, outcome)
}

// leaveTask takes note that a process has left its task. It needs mu.
func (s *supervisor) leaveTask(e *engine, outcome string) {
	delete(s.engines, keyOf(e.task))
	close(e.gone)
	s.end(e.task, outcome)
	s.wakeUp()
}

// end notes that a task has had its process. It needs mu.
func (s *supervisor) end(task *tandemv1.EngineTask, outcome string) {
	s.done[keyOf(task)] = true
	s.metrics.ended.WithLabelValues(outcome).Inc()
}

// trim forgets tasks that are no longer wanted. It needs mu.
func (s *supervisor) trim() {
	if s.desired == nil {
		return
	}
	wanted := map[taskKey]bool{}
	for _, t := range s.desired.GetEngines() {
		wanted[keyOf(t)] = true
	}
	for key := range s.done {
		if wanted[key] || s.engines[key] != nil {
			continue
		}
		if err := s.journal.forget(key); err != nil {
			s.log.Warn().Err(err).Str("engine", key.id).Msg("cannot trim the journal of engines")
			continue
		}
		delete(s.done, key)
	}
}

func kindOf(t *tandemv1.EngineTask) string {
	switch {
	case t.GetServe() != nil:
		return "serve"
	case t.GetPublish() != nil:
		return "publish"
	}
	return "train"
}
