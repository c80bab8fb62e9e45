package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/cgroup"
	"tandem.dev/worker/line"
	"tandem.dev/worker/sandbox"
)

func TestUsers(t *testing.T) {
	for text, want := range map[string]Users{"200000-200099": {200000, 200099}, "1000": {1000, 1000}} {
		if got, err := ParseUsers(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "0-5", "9-5", "a-b", "1-", "-1", "1-99999999999"} {
		if got, err := ParseUsers(text); err == nil {
			t.Errorf("%q: taken for %v", text, got)
		}
	}
	u := Users{200, 202}
	engines := map[taskKey]*engine{}
	for i, tc := range []struct {
		task *tandemv1.EngineTask
		want int
	}{
		{task("a", 1, 0), 200},
		{task("b", 1, 0), 201},
		{task("a", 1, 1), 200}, // the same allocation
		{&tandemv1.EngineTask{Id: "replica-1", Task: &tandemv1.EngineTask_Serve{Serve: &tandemv1.ServeTask{}}}, 202},
	} {
		got := u.of(tc.task, engines)
		if got != tc.want {
			t.Errorf("%d: user %d, want %d", i, got, tc.want)
		}
		engines[keyOf(tc.task)] = &engine{task: tc.task, user: got}
	}
	delete(engines, keyOf(task("b", 1, 0)))
	if got := u.of(task("c", 1, 0), engines); got != 201 {
		t.Errorf("user %d, want the one that is free again", got)
	}
}

// TestRequireSandbox: all parts are required but those that the operator does without.
func TestRequireSandbox(t *testing.T) {
	memory, ports := tandemv1.SandboxPart_SANDBOX_PART_MEMORY, tandemv1.SandboxPart_SANDBOX_PART_PORTS
	whole := sandbox.Features{User: true, Landlock: 6, Seccomp: true, Memory: true}
	shared := errors.New("others are in it")
	for name, tc := range map[string]struct {
		f    sandbox.Features
		c    Config
		want []string
	}{
		"whole":                    {whole, Config{RequireSandbox: true}, nil},
		"nothing required":         {sandbox.Features{}, Config{}, nil},
		"no cgroup":                {whole.Without([]tandemv1.SandboxPart{memory}), Config{RequireSandbox: true}, []string{"Delegate=yes", "others are in it"}},
		"no cgroup is wanted":      {whole.Without([]tandemv1.SandboxPart{memory}), Config{RequireSandbox: true, SandboxWithout: []tandemv1.SandboxPart{memory}}, nil},
		"another part is required": {whole.Without([]tandemv1.SandboxPart{ports}), Config{RequireSandbox: true, SandboxWithout: []tandemv1.SandboxPart{memory}}, []string{"6.7"}},
	} {
		err := tc.c.required(tc.f, shared)
		if (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range tc.want {
			if !errors.Is(err, ErrSandbox) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
}

// TestHeardForItsOwn: a process says nothing in the name of another's engine, and gets no task before it is confined.
func TestHeardForItsOwn(t *testing.T) {
	supervised(t, func(s *supervisor, _ *stage) {
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0), task("b", 1, 1)})
		h := &host{supervisor: s, reports: s.reports}
		synctest.Wait()
		a, b := s.engines[keyOf(task("a", 1, 0))], s.engines[keyOf(task("b", 1, 1))]
		as := func(r *runner) context.Context { return context.WithValue(t.Context(), callerKey{}, r) }
		report := connect.NewRequest(&tandemv1.ReportEngineRequest{Report: &tandemv1.EngineReport{
			EngineId: a.task.GetId(), Generation: 1, Report: &tandemv1.EngineReport_Note{Note: &tandemv1.EngineNote{Message: "x"}},
		}})
		for name, from := range map[string]context.Context{"another": as(b.proc), "nobody": t.Context()} {
			if _, err := h.ReportEngine(from, report); connect.CodeOf(err) != connect.CodeFailedPrecondition {
				t.Errorf("%s was heard: %v", name, err)
			}
			if _, err := h.Hello(from, connect.NewRequest(&tandemv1.HelloRequest{EngineId: a.task.GetId()})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
				t.Errorf("%s got the task: %v", name, err)
			}
		}
		if _, err := h.ReportEngine(as(a.proc), report); err != nil {
			t.Errorf("it was not heard itself: %v", err)
		}
	})
}

// TestOnlyConfinedGetTasks: this process has no filter of system calls, and passes for an engine here.
func TestOnlyConfinedGetTasks(t *testing.T) {
	e := &engine{task: task("a", 1, 0)}
	r := &runner{process: &puppet{pidIs: os.Getpid()}, engine: e, policy: sandbox.Policy{User: sandbox.Own, Features: sandbox.Features{Seccomp: true}}}
	e.proc = r
	s := newSupervisor(supervisorConfig{}, nil, journal{}, newReportQueue(1), nil, newMetrics("test"), zerolog.Nop())
	s.engines[keyOf(e.task)] = e
	h := &host{supervisor: s}
	_, err := h.Hello(context.WithValue(t.Context(), callerKey{}, r), connect.NewRequest(&tandemv1.HelloRequest{EngineId: e.task.GetId()}))
	if err == nil || !strings.Contains(err.Error(), "filter of system calls") || e.greeted {
		t.Errorf("it got its task: %v", err)
	}
}

// TestMemoryOfEngines: engines have cgroups where the agent may make them, and the end of one by its limit says so. .ci/cgroup runs it in a
// virtual machine.
func TestMemoryOfEngines(t *testing.T) {
	if _, err := cgroup.Find(); err != nil {
		if os.Getenv("CGROUP_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v (.ci/cgroup runs this test in a virtual machine)", err)
	}
	c := newCluster(t)
	c.open("127.0.0.1:0")
	c.start(t.TempDir(), func(cfg *Config) { cfg.EngineMemory = 128 << 20 })
	if got := c.registered().GetSandbox(); !slices.Contains(got, tandemv1.SandboxPart_SANDBOX_PART_MEMORY) {
		t.Errorf("the node has %v", got)
	}
	c.want(task("wait", 1, 0), task("hoard", 1, 1))
	pid := c.up("alloc-wait1/0")
	if limit, err := cgroup.MemoryOf(pid); err != nil || limit != 128<<20 {
		t.Errorf("an engine may have %d bytes, %v", limit, err)
	}
	f := c.report("alloc-hoard1/1", "failure", hasFailed).GetFailed()
	if !strings.Contains(f.GetMessage(), "all of the memory that an engine may have on this node, 128 MiB") {
		t.Errorf("report of the end: %v", f)
	}
	if !alive(pid) {
		t.Error("another engine is gone")
	}
}

// TestSegment: the agent opens memory that an allocation's rank has made, and nothing else that a process has open.
func TestSegment(t *testing.T) {
	memory := func(name string) int32 {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
		must(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		return int32(fd)
	}
	secret, err := os.Create(t.TempDir() + "/" + "memfd:tandem alloc-1 (deleted)")
	must(t, err)
	defer secret.Close()
	own, others, plain := memory(line.MemoryName("alloc-1")), memory(line.MemoryName("alloc-2")), memory("")
	for name, tc := range map[string]struct {
		allocation string
		fd         int32
		ok         bool
	}{
		"its own":             {"alloc-1", own, true},
		"another's":           {"alloc-1", others, false},
		"no allocation's":     {"alloc-1", plain, false},
		"a file of that name": {"alloc-1", int32(secret.Fd()), false},
		"standard output":     {"alloc-1", 1, false},
		"nothing":             {"alloc-1", 1 << 20, false},
		"of a replica":        {"", memory(line.MemoryName("")), false},
	} {
		f, err := segment(tc.allocation, &tandemv1.SegmentFile{Pid: int32(os.Getpid()), Fd: tc.fd})
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		if f != nil {
			_ = f.Close()
		}
	}
}

// TestExchangeEnds: connections that come after the end are closed, and nobody waits.
func TestExchangeEnds(t *testing.T) {
	x := newExchange()
	must(t, x.Close())
	must(t, x.Close())
	a, b := net.Pipe()
	defer b.Close()
	x.put(a, nil)
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a connection stays open that nobody serves")
	}
	if _, err := x.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want the end", err)
	}
}
