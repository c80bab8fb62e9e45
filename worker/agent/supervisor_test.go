package agent

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/worker/rotate"
)

// puppet is a process of a test: it dies of SIGKILL, and of SIGTERM unless it is stubborn.
type puppet struct {
	spec     processSpec
	stubborn bool
	pidIs    int // 0: none, the kernel has fewer
	once     sync.Once
	ended    chan exit
	note     func(string)
}

func (p *puppet) pid() int {
	if p.pidIs != 0 {
		return p.pidIs
	}
	return 1 << 30
}

func (p *puppet) signal(s syscall.Signal) {
	p.note(s.String())
	if s == syscall.SIGKILL || !p.stubborn {
		p.end(exit{signal: s})
	}
}

func (p *puppet) end(x exit) { p.once.Do(func() { p.ended <- x }) }

func (p *puppet) wait() exit {
	x := <-p.ended
	p.note("gone")
	return x
}

// stage starts puppets and notes what happens, with seconds since the start.
type stage struct {
	mu       sync.Mutex
	began    time.Time
	stubborn bool
	fails    error // of each start
	notes    []string
	puppets  map[string]*puppet
}

func (s *stage) start(spec processSpec) (process, error) {
	id := spec.args[len(spec.args)-1]
	note := func(what string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notes = append(s.notes, time.Since(s.began).String()+" "+id+" "+what)
	}
	if s.fails != nil {
		return nil, s.fails
	}
	note("started")
	p := &puppet{spec: spec, stubborn: s.stubborn, ended: make(chan exit, 1), note: note}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puppets[id] = p
	return p, nil
}

// supervised runs f in a bubble with a supervisor on a stage.
func supervised(t *testing.T, f func(*supervisor, *stage)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		st := &stage{began: time.Now(), puppets: map[string]*puppet{}}
		local, err := rotate.Open(filepath.Join(dir, "engines.log"), 1<<20, 1)
		must(t, err)
		m := newMetrics("test")
		store := memstore.New(memstore.Config{})
		l := &logs{
			node: "node-1", local: local, every: 2 * time.Second, budget: 64 << 20, now: time.Now, metrics: m,
			objects: &objects{open: func(*tandemv1.StorageConfig) (storage.Store, error) { return store, nil }},
		}
		s := newSupervisor(supervisorConfig{
			slots: slotsOf(nil, 2, 4), scratch: filepath.Join(dir, "scratch"), sockets: dir, limits: testLimits,
		}, st, journal{dir: dir}, newReportQueue(10), l, m, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.run(ctx) }()
		synctest.Wait()
		f(s, st)
		must(t, s.leave(ctx))
		if left, _ := filepath.Glob(filepath.Join(dir, "scratch", "*")); len(left) > 0 {
			t.Errorf("folders are left: %v", left)
		}
		cancel()
		must(t, <-done)
		l.uploads.Wait()
		must(t, local.Close())
	})
}

// desire gives a supervisor a desired state.
func desire(s *supervisor, index uint64, tasks []*tandemv1.EngineTask) bool {
	return s.want(&tandemv1.SessionResponse{Index: index, Engines: tasks})
}

func (s *stage) check(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := cmp.Diff(want, s.notes); d != "" {
		t.Error(d)
	}
	s.notes = nil
}

func TestSlotIsGivenOnWhenFree(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		st.stubborn = true
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
		synctest.Wait()
		_, err := s.hello("alloc-a1/0")
		must(t, err)
		st.check(t, "0s alloc-a1/0 started")
		st.stubborn = false
		desire(s, 2, []*tandemv1.EngineTask{task("b", 1, 0)})
		st.check(t, "0s alloc-a1/0 terminated")
		time.Sleep(4 * time.Second) // virtual
		st.check(t)
		time.Sleep(2 * time.Second)
		st.check(t, "5s alloc-a1/0 killed", "5s alloc-a1/0 gone", "5s alloc-b1/0 started")
		if n := s.reports.length(); n != 0 {
			t.Errorf("%d reports of an end that was wanted", n)
		}
	})
}

// TestKilledBeforeItIsEnded: what an engine died of is reported, also when those that missed it were heard first.
func TestKilledBeforeItIsEnded(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		st.stubborn = true
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
		synctest.Wait()
		_, err := s.hello("alloc-a1/0")
		must(t, err)
		desire(s, 2, nil)
		st.check(t, "0s alloc-a1/0 started", "0s alloc-a1/0 terminated")
		st.puppets["alloc-a1/0"].end(exit{signal: syscall.SIGKILL})
		st.check(t, "0s alloc-a1/0 gone")
		if s.reports.length() != 1 {
			t.Fatal("nobody is told")
		}
		reports, err := s.reports.peek(t.Context(), 10)
		must(t, err)
		if !strings.Contains(reports[0].GetFailed().GetMessage(), "SIGKILL from outside") || reports[0].GetFailed().GetNodeStopping() {
			t.Errorf("reports %v", reports)
		}
	})
}

func TestOlderIndexIsIgnored(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		if !desire(s, 5, []*tandemv1.EngineTask{task("a", 1, 0)}) || desire(s, 4, nil) || !desire(s, 5, []*tandemv1.EngineTask{task("a", 1, 0)}) {
			t.Error("only a smaller index is to be ignored")
		}
		synctest.Wait()
		desire(s, 3, nil)
		st.check(t, "0s alloc-a1/0 started")
	})
}

func TestHungEngine(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
		time.Sleep(59 * time.Second)
		st.check(t, "0s alloc-a1/0 started")
		time.Sleep(2 * time.Second)
		st.check(t, "1m0s alloc-a1/0 killed", "1m0s alloc-a1/0 gone")
		reports, err := s.reports.peek(t.Context(), 10)
		must(t, err)
		if len(reports) != 1 || !strings.Contains(reports[0].GetFailed().GetMessage(), reasonNoHello) {
			t.Errorf("reports %v", reports)
		}
	})
}

// TestNodeFault: what goes wrong before an engine has asked for its task is the fault of the node; what comes later may be the task's.
func TestNodeFault(t *testing.T) {
	const id = "alloc-a1/0"
	for name, tc := range map[string]struct {
		before func(*supervisor, *stage)
		after  func(*supervisor, *stage)
		node   bool
		says   string
	}{
		"no scratch folder": {before: func(s *supervisor, _ *stage) { s.cfg.scratch = "/dev/null/scratch" }, node: true, says: "the disk is not full"},
		"no program":        {before: func(_ *supervisor, st *stage) { st.fails = errors.New("start engine: not there") }, node: true, says: "not there; see that the program"},
		"no slot":           {before: func(s *supervisor, _ *stage) { s.cfg.slots = nil }, node: true, says: "no slot"},
		"ends before hello": {after: func(_ *supervisor, st *stage) { st.puppets[id].end(exit{code: 127}) }, node: true, says: "exit code 127"},
		"no hello":          {after: func(*supervisor, *stage) { time.Sleep(testLimits.hello + time.Second) }, node: true, says: reasonNoHello},
		"ends after hello": {after: func(s *supervisor, st *stage) {
			_, err := s.hello(id)
			must(t, err)
			st.puppets[id].end(exit{code: 1})
		}, says: "exit code 1"},
	} {
		supervised(t, func(s *supervisor, st *stage) {
			s.mu.Lock()
			if tc.before != nil {
				tc.before(s, st)
			}
			s.mu.Unlock()
			desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
			synctest.Wait()
			if tc.after != nil {
				tc.after(s, st)
				synctest.Wait()
			}
			if s.reports.length() != 1 {
				t.Fatalf("%s: %d reports", name, s.reports.length())
			}
			reports, err := s.reports.peek(t.Context(), 10)
			must(t, err)
			if f := reports[0].GetFailed(); f.GetNodeFault() != tc.node || !strings.Contains(f.GetMessage(), tc.says) {
				t.Errorf("%s: %v", name, f)
			}
		})
	}
}

func TestLastWordThenEnd(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
		synctest.Wait()
		_, err := s.hello("alloc-a1/0")
		must(t, err)
		word := &tandemv1.EngineReport{EngineId: "alloc-a1/0", Generation: 1, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}
		must(t, s.lastWord(word, "finished"))
		must(t, s.lastWord(word, "finished")) // said again because the answer was lost
		desire(s, 2, nil)                     // the coordinator has heard it
		time.Sleep(9 * time.Second)
		st.check(t, "0s alloc-a1/0 started")
		time.Sleep(2 * time.Second)
		st.check(t, "10s alloc-a1/0 terminated", "10s alloc-a1/0 gone")
		if n := s.reports.length(); n != 1 {
			t.Errorf("%d reports, want the last word alone", n)
		}
		if err := s.lastWord(word, "finished"); err == nil {
			t.Error("a report of an engine that is gone was taken")
		}
		if len(s.done) != 0 {
			t.Errorf("tasks that nobody wants are remembered: %v", s.done)
		}
	})
}

// trained makes the first engine of a test say hello and its last word.
func trained(t *testing.T, s *supervisor, id, outcome string) *engine {
	t.Helper()
	e, err := s.hello(id)
	must(t, err)
	must(t, s.lastWord(&tandemv1.EngineReport{EngineId: id, Generation: 1, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}, outcome))
	return e
}

// trialTask is the n-th trial of a sweep.
func trialTask(n int64) *tandemv1.EngineTask {
	t := task("a", n, 0)
	t.GetTrain().InSweep = true
	return t
}

// TestHandOver: a process gets the next task of its job, and what it writes goes to the task that it is at.
func TestHandOver(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		a, b := trialTask(1), trialTask(2)
		desire(s, 1, []*tandemv1.EngineTask{a})
		synctest.Wait()
		first := trained(t, s, a.GetId(), "finished")
		out, errs := st.puppets[a.GetId()].spec.stdout, st.puppets[a.GetId()].spec.stderr
		next := make(chan string, 1)
		go func() {
			id, err := s.next(context.Background(), a.GetId())
			if err != nil {
				id = err.Error()
			}
			next <- id
		}()
		emit := func(w io.Writer, text string) {
			t.Helper()
			_, err := io.WriteString(w, text)
			must(t, err)
		}
		emit(errs, "the first's\n"+first.log.mark+"\n")
		desire(s, 2, []*tandemv1.EngineTask{b})
		st.check(t, "0s alloc-a1/0 started")
		if _, err := s.find(b.GetId()); err == nil {
			t.Error("it goes on, and what it wrote has not all come")
		}
		emit(out, "half a line"+first.log.mark+"\n")
		st.check(t)
		select {
		case <-first.log.done:
		default:
			t.Error("its log is kept back")
		}
		if id := <-next; id != b.GetId() {
			t.Fatalf("it is to go on with %s", id)
		}
		if _, err := s.find(a.GetId()); err == nil {
			t.Error("the task that is over may still act")
		}
		second, err := s.hello(b.GetId())
		must(t, err)
		emit(errs, "the second's\n")
		if d := cmp.Diff([]string{"the first's"}, first.log.last.last()); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"the second's"}, second.log.last.last()); d != "" {
			t.Error(d)
		}
		st.puppets[a.GetId()].end(exit{code: 3})
		st.check(t, "0s alloc-a1/0 gone")
		reports, err := s.reports.peek(t.Context(), 10)
		must(t, err)
		if len(reports) != 2 || reports[0].GetFinished() == nil || reports[1].GetEngineId() != b.GetId() ||
			!strings.Contains(reports[1].GetFailed().GetMessage(), "exit code 3); its last lines:\nthe second's") {
			t.Errorf("reports %v", reports)
		}
	})
}

// TestNothingToHandOver: who gets no other task in time ends, and who failed or has died is not asked to go on.
func TestNothingToHandOver(t *testing.T) {
	for outcome, want := range map[string]string{"stopped": "20s alloc-a1/0 killed", "failed": "10s alloc-a1/0 terminated"} {
		supervised(t, func(s *supervisor, st *stage) {
			desire(s, 1, []*tandemv1.EngineTask{trialTask(1)})
			synctest.Wait()
			e := trained(t, s, "alloc-a1/0", outcome)
			st.check(t, "0s alloc-a1/0 started")
			for _, w := range []io.Writer{st.puppets["alloc-a1/0"].spec.stdout, st.puppets["alloc-a1/0"].spec.stderr} {
				_, err := io.WriteString(w, e.log.mark+"\n")
				must(t, err)
			}
			desire(s, 2, nil)
			began := time.Now()
			if _, err := s.next(context.Background(), "alloc-a1/0"); !errors.Is(err, errOver) {
				t.Errorf("%s: %v", outcome, err)
			}
			if outcome == "failed" && time.Since(began) != 0 {
				t.Error("it waited for a task that it cannot get")
			}
			time.Sleep(20*time.Second - time.Since(began))
			st.check(t, want, strings.NewReplacer("terminated", "gone", "killed", "gone").Replace(want))
		})
	}
	supervised(t, func(s *supervisor, st *stage) {
		a, b := trialTask(1), trialTask(2)
		desire(s, 1, []*tandemv1.EngineTask{a})
		synctest.Wait()
		e := trained(t, s, a.GetId(), "finished")
		for _, w := range []io.Writer{st.puppets[a.GetId()].spec.stdout, st.puppets[a.GetId()].spec.stderr} {
			_, err := io.WriteString(w, e.log.mark+"\n")
			must(t, err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := s.next(context.Background(), a.GetId())
			ended <- err
		}()
		synctest.Wait()
		st.puppets[a.GetId()].end(exit{})
		synctest.Wait()
		desire(s, 2, []*tandemv1.EngineTask{b})
		st.check(t, "0s alloc-a1/0 started", "0s alloc-a1/0 gone", "0s alloc-a2/0 started")
		if err := <-ended; !errors.Is(err, errOver) {
			t.Errorf("a process that is gone was to go on: %v", err)
		}
	})
}

// TestLogSaysWhyItsEngineEnded: the last line of a log is why its engine failed or was lost, whatever that wrote before; one that did its
// work, or is not needed any more, has no such line.
func TestLogSaysWhyItsEngineEnded(t *testing.T) {
	const id = "alloc-a1/0"
	for name, tc := range map[string]struct {
		end  func(*supervisor, *puppet)
		want string
	}{
		"failed": {func(s *supervisor, p *puppet) {
			must(t, s.lastWord(&tandemv1.EngineReport{EngineId: id, Generation: 1, Report: &tandemv1.EngineReport_Failed{
				Failed: &tandemv1.EngineFailed{Message: "the model did not come back"},
			}}, "failed"))
			_, err := io.WriteString(p.spec.stdout, "again and again\nand half a line")
			must(t, err)
			p.end(exit{code: 1})
		}, "(the task failed: the model did not come back)"},
		"killed": {func(_ *supervisor, p *puppet) {
			p.end(exit{signal: syscall.SIGKILL, oomKill: true})
		}, "(the engine was killed because the machine ran out of memory: use a smaller batch or model, more micro_batches, or a machine with more memory)"},
		"finished": {func(s *supervisor, p *puppet) {
			must(t, s.lastWord(&tandemv1.EngineReport{EngineId: id, Generation: 1, Report: &tandemv1.EngineReport_Finished{
				Finished: &tandemv1.EngineFinished{},
			}}, "finished"))
			p.end(exit{})
		}, "hello"},
		"not needed": {func(s *supervisor, _ *puppet) { desire(s, 2, nil) }, "hello"},
	} {
		supervised(t, func(s *supervisor, st *stage) {
			store := memstore.New(memstore.Config{})
			s.logs.objects.open = func(*tandemv1.StorageConfig) (storage.Store, error) { return store, nil }
			desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
			synctest.Wait()
			_, err := s.hello(id)
			must(t, err)
			_, err = io.WriteString(st.puppets[id].spec.stdout, "hello\n")
			must(t, err)
			tc.end(s, st.puppets[id])
			time.Sleep(time.Minute)
			lines := stored(t, store)
			if end := lines[len(lines)-1]; end != tc.want {
				t.Errorf("%s: the log ends with %q, want %q", name, end, tc.want)
			}
		})
	}
}

func TestObituary(t *testing.T) {
	for _, tc := range []struct {
		x     exit
		ended string
		tail  []string
		want  string
	}{
		{exit{code: 3}, "", []string{"boom"}, "exit code 3); its last lines:\nboom"},
		{exit{signal: syscall.SIGSEGV}, "", []string{"gs 0x0"}, "the engine died of SIGSEGV in the code of the model or of libtorch: memory that is not its own, or a stack that was full"},
		{exit{signal: syscall.SIGABRT}, "", []string{"terminate called"}, "died of SIGABRT: a library gave up; its last lines:\nterminate called"},
		{exit{signal: syscall.SIGKILL, oomKill: true}, "", nil, "ran out of memory: use a smaller batch"},
		{exit{signal: syscall.SIGKILL, oomKill: true, limit: 512 << 20}, "", nil, "that an engine may have on this node, 512 MiB: use a smaller batch"},
		{exit{signal: syscall.SIGKILL}, "", nil, "SIGKILL from outside"},
		{exit{signal: syscall.SIGKILL, oomKill: true}, "the agent ends", nil, "ended by its agent: the agent ends"},
	} {
		if got := obituary(tc.x, tc.ended, tc.tail); !strings.Contains(got, tc.want) {
			t.Errorf("%v: %q, want %q in it", tc.x, got, tc.want)
		} else if tc.x.signal == syscall.SIGSEGV && strings.Contains(got, "gs 0x0") {
			t.Errorf("%v: %q has what was written last, which says nothing", tc.x, got)
		}
	}
}
