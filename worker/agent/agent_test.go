package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

// running is an agent in this process.
type running struct {
	*Agent
	store *memstore.Store
	stop  func() // as SIGTERM does; waits for its end
}

// start starts an agent on a data folder.
func (c *cluster) start(dir string, change ...func(*Config)) *running {
	c.t.Helper()
	cfg := testConfig(dir)
	cfg.Join, cfg.JoinToken = c.members, c.token.String()
	for _, f := range change {
		f(&cfg)
	}
	log := zerolog.Nop()
	if testing.Verbose() {
		log = zerolog.New(os.Stderr)
	}
	store := memstore.New(memstore.Config{})
	a, err := New(cfg, Deps{Log: log, OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) { return store, nil }})
	must(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	r := &running{Agent: a, store: store, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}}
	c.t.Cleanup(r.stop)
	select {
	case <-a.Ready():
	case err := <-done:
		done <- nil
		c.t.Fatal(err)
	}
	return r
}

// task is one rank; job names what the fake engine does.
func task(job string, generation int64, rank int32) *tandemv1.EngineTask {
	alloc := fmt.Sprintf("alloc-%s%d", job, generation)
	return &tandemv1.EngineTask{
		Id: fmt.Sprintf("%s/%d", alloc, rank), Generation: generation, SlotId: "cpu" + strconv.Itoa(int(rank)),
		Task: &tandemv1.EngineTask_Train{Train: &tandemv1.TrainTask{
			JobId: job, TrialId: "trial-" + job, AllocationId: alloc, Member: rank,
		}},
		Storage: &tandemv1.StorageConfig{Endpoint: "store", Bucket: "b", SecretKey: "very-secret"},
	}
}

// meet is a task whose rank meets the others of a generation.
func meet(generation int64, rank int32) *tandemv1.EngineTask {
	t := task("meet", generation, rank)
	t.GetTrain().Group = &tandemv1.ProcessGroup{Generation: generation, Rank: rank, WorldSize: 2}
	return t
}

// gone waits until a process that is not a child of this test is gone, or is one that was reaped.
func gone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	}
	if n != 1 {
		t.Fatalf("process %d is still there (%v)", pid, err)
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestJoinStartStop(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	a := c.start(dir)
	c.want(task("wait", 1, 0), task("wait", 1, 1))
	first, second := c.up("alloc-wait1/0"), c.up("alloc-wait1/1")
	if first == second {
		t.Fatal("two ranks share a process")
	}
	if n := c.registered(); n.GetId() != "node-1" || len(n.GetSlots()) != 2 || n.GetLibtorchVersion() != "1.13.1" || n.GetAddress() != a.Address(t.Context()) {
		t.Errorf("session opened as %v", n)
	}

	stopping := task("wait", 1, 0)
	stopping.GetTrain().Stopping = true
	c.want(stopping, task("wait", 1, 1))
	r := c.report("alloc-wait1/0", "stopped", func(r *tandemv1.EngineReport) bool { return r.GetStopped() != nil })
	if r.GetStopped().GetStep() != 42 {
		t.Errorf("stopped at %v", r)
	}
	gone(t, first)
	if !alive(second) {
		t.Fatal("the other rank did not stay")
	}
	// The old desired state still lists the rank that stopped, and is sent again: it must not come back.
	c.want(stopping, task("wait", 1, 1), task("finish", 1, 0))
	c.report("alloc-finish1/0", "finished", func(r *tandemv1.EngineReport) bool { return r.GetFinished() != nil })

	c.want()
	gone(t, second)
	a.stop()
	for _, engine := range []string{"alloc-wait1/0", "alloc-wait1/1", "alloc-finish1/0"} {
		if f := c.last(engine, hasFailed); f != nil {
			t.Errorf("an end that was wanted or reported is reported as a failure: %v", f)
		}
		if starts := c.starts(engine); starts != 1 {
			t.Errorf("%s started %d times", engine, starts)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pki", "node-key.pem")); err != nil {
		t.Error(err)
	}

	// A later start needs no token, and is a newer incarnation.
	before := c.registered().GetIncarnation()
	c.start(dir, func(cfg *Config) { cfg.JoinToken = "" })
	if now := c.registered().GetIncarnation(); now <= before {
		t.Errorf("incarnation %d after %d", now, before)
	}
}

func TestCrash(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	c.start(t.TempDir())
	c.want(task("crash", 1, 0), task("wait", 1, 1))
	f := c.report("alloc-crash1/0", "failure", hasFailed).GetFailed()
	if f.GetPermanent() || !strings.Contains(f.GetMessage(), "exit code 3") || !strings.Contains(f.GetMessage(), "the sky has fallen") {
		t.Errorf("report of the crash: %v", f)
	}
	c.want(task("unreadable", 1, 0), task("wait", 1, 1)) // what crashes libtorch once does so again
	f = c.report("alloc-unreadable1/0", "failure", hasFailed).GetFailed()
	if !f.GetPermanent() || !strings.Contains(f.GetMessage(), "libtorch crashed while it read the file of the model") {
		t.Errorf("report of a file that crashes libtorch: %v", f)
	}
	pid := c.up("alloc-wait1/1")
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	f = c.report("alloc-wait1/1", "failure", hasFailed).GetFailed()
	if f.GetPermanent() || !strings.Contains(f.GetMessage(), "memory") {
		t.Errorf("report of kill -9: %v", f)
	}
	// The next generation takes the slots.
	c.want(task("wait", 2, 0), task("wait", 2, 1))
	c.up("alloc-wait2/0")
	c.up("alloc-wait2/1")
}

func TestConnectionLossLeavesEnginesAlone(t *testing.T) {
	c := newCluster(t)
	first, second := c.open("127.0.0.1:0"), c.open("127.0.0.1:0")
	a := c.start(t.TempDir())
	c.want(task("count", 1, 0))
	pid := c.up("alloc-count1/0")
	steps := func() int64 {
		r := c.find("alloc-count1/0", func(r *tandemv1.EngineReport) bool { return r.GetEvaluation() != nil })
		return r.GetEvaluation().GetStep()
	}
	first.close()
	var reached int64
	c.await("a session with the second coordinator and reports", func() bool { reached = steps(); return c.opened >= 2 && reached > 100 })
	second.close()
	c.await("the end of all sessions", func() bool { return c.sessions == 0 })
	if !alive(pid) {
		t.Fatal("the engine ended with the connection")
	}
	var opened int
	c.await("the count of sessions", func() bool { opened = c.opened; return true })
	c.open(first.address)
	c.await("reports after the restart", func() bool { return c.opened > opened && steps() > reached+reportLimit })
	if !alive(pid) {
		t.Fatal("the engine ended with the connection")
	}
	// In order, and none left out.
	c.mu.Lock()
	var last int64
	for _, r := range c.reports {
		if step := r.GetEvaluation().GetStep(); step > 0 {
			if step > last+1 {
				t.Errorf("step %d follows %d", step, last)
			}
			last = max(last, step)
		}
	}
	if f := c.find("alloc-count1/0", hasFailed); f != nil {
		t.Errorf("failed: %v", f)
	}
	c.mu.Unlock()
	a.stop()
	if f := c.last("alloc-count1/0", hasFailed).GetFailed(); !f.GetNodeStopping() || !strings.Contains(f.GetMessage(), "the agent ends") {
		t.Errorf("last report of an agent that ends: %v", f)
	}
	c.mu.Lock()
	if c.left < 0 || !slices.ContainsFunc(c.reports[c.left:], hasFailed) {
		t.Errorf("the agent did not say that it stops before its engines ended (%d)", c.left)
	}
	c.mu.Unlock()
	gone(t, pid)
}

func TestRefusalKills(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	c.start(t.TempDir())
	c.change(func() {
		c.refuse = func(r *tandemv1.EngineReport) string {
			if r.GetEvaluation().GetStep() >= 5 {
				return "generation 1 is over"
			}
			return ""
		}
	})
	c.want(task("count", 1, 0), task("wait", 1, 1))
	pid, other := c.up("alloc-count1/0"), c.up("alloc-wait1/1")
	gone(t, pid)
	// Rendezvous of a generation that is over ends an engine as well.
	c.want(task("wait", 1, 1), meet(13, 0))
	over := c.up("alloc-meet13/0")
	gone(t, over)
	if !alive(other) {
		t.Error("another engine was hurt")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.find("alloc-count1/0", hasFailed); f != nil {
		t.Errorf("the end of an engine that is over is reported: %v", f)
	}
}

func TestRendezvousProgressAndLogs(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	a := c.start(t.TempDir())
	c.want(meet(3, 0), meet(3, 1))
	c.up("alloc-meet3/0")
	c.up("alloc-meet3/1")
	c.report("alloc-meet3/0", "step 9", isDone)
	c.report("alloc-meet3/1", "step 9", isDone)
	c.want(task("progress", 1, 0))
	c.await("progress", func() bool { return len(c.progress) > 0 })
	c.mu.Lock()
	p := c.progress[0]
	c.mu.Unlock()
	if p.GetStep() != 7 || p.GetTrialId() != "trial-progress" {
		t.Errorf("progress %v", p)
	}
	a.stop() // which sends what is left of the logs
	var lines []logLine
	for _, key := range a.store.Keys() {
		if !strings.HasPrefix(key, "trials/trial-meet/logs/") || !strings.HasSuffix(key, "-g3.jsonl") {
			continue
		}
		b, err := a.store.Bytes(key)
		must(t, err)
		for line := range bytes.Lines(b) {
			var l logLine
			must(t, json.Unmarshal(line, &l))
			lines = append(lines, l)
		}
	}
	met := 0
	for _, l := range lines {
		if l.Line == fmt.Sprintf("rank %d met %d", l.Rank, 101-l.Rank) && l.Gen == 3 && l.Node == "node-1" && !l.Time.IsZero() {
			met++
		}
	}
	if met != 2 {
		t.Errorf("lines that arrived: %+v", lines)
	}
}

func TestNoSecretsReachTheProcess(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	a := c.start(dir)
	c.want(task("environment", 1, 1))
	c.report("alloc-environment1/1", "step 9", isDone)
	a.stop()
	b, err := os.ReadFile(filepath.Join(dir, "logs", "engines.log"))
	must(t, err)
	for _, want := range []string{"OMP_NUM_THREADS=", "CUDA_VISIBLE_DEVICES=\"", "--engine alloc-environment1/1"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	if bytes.Contains(b, []byte("very-secret")) || bytes.Contains(b, []byte("tdmjoin")) {
		t.Errorf("a secret in\n%s", b)
	}
}

// TestEngineUsesTheStore: an engine in a process of its own, with no keys and no port, keeps and reads what is its own.
func TestEngineUsesTheStore(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	a := c.start(t.TempDir())
	own := task("store", 1, 0)
	own.GetTrain().CheckpointPrefix = "trials/trial-store/ckpt"
	c.want(own)
	if got := c.report("alloc-store1/0", "step 9", isDone).GetEvaluation().GetMetrics()["bytes"]; got != 5<<18 {
		t.Errorf("%v bytes came back", got)
	}
	if b, err := a.store.Bytes("trials/trial-store/ckpt/a"); err != nil || len(b) != 5<<18 {
		t.Errorf("%d bytes in the store, %v", len(b), err)
	}
}

// TestKillAgent: no engine outlives its agent, and the next one says what was lost and starts nothing twice.
func TestKillAgent(t *testing.T) {
	c := newCluster(t)
	m := c.open("127.0.0.1:0")
	dir := t.TempDir()
	launch := func() *exec.Cmd {
		self, err := os.Executable()
		must(t, err)
		cmd := exec.Command(self, dir, m.address, c.token.String())
		cmd.Env = append(os.Environ(), roleVar+"=agent")
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	agent := launch()
	c.want(task("wait", 1, 0), task("stubborn", 1, 1))
	first, second := c.up("alloc-wait1/0"), c.up("alloc-stubborn1/1")
	must(t, agent.Process.Kill())
	gone(t, first)
	gone(t, second)
	_ = agent.Wait()

	agent = launch()
	f := c.report("alloc-wait1/0", "failure", hasFailed).GetFailed()
	if f.GetPermanent() || !f.GetNodeStopping() || !strings.Contains(f.GetMessage(), "agent") {
		t.Errorf("report after the restart: %v", f)
	}
	c.report("alloc-stubborn1/1", "failure", hasFailed)
	c.want(task("wait", 2, 0), task("stubborn", 1, 1))
	third := c.up("alloc-wait2/0")
	if starts := c.starts("alloc-wait1/0") + c.starts("alloc-stubborn1/1"); starts != 2 {
		t.Errorf("tasks of the former agent were started again: %d starts", starts)
	}
	// SIGTERM ends it in order.
	must(t, agent.Process.Signal(syscall.SIGTERM))
	must(t, agent.Wait())
	gone(t, third)
	if f := c.last("alloc-wait2/0", hasFailed); !strings.Contains(f.GetFailed().GetMessage(), "the agent ends") {
		t.Errorf("last report: %v", f)
	}
}

// TestLeftoverIsKilled: an engine that the parent-death signal missed dies before anything starts.
func TestLeftoverIsKilled(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	stray := exec.Command("sleep", "1000")
	stray.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, stray.Start())
	j := journal{dir: filepath.Join(dir, "engines")}
	_, _, err := j.read() // makes the folder
	must(t, err)
	must(t, j.record(taskKey{"alloc-stray/0", 4}, false, stray.Process.Pid))
	c.start(dir)
	if err := stray.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the leftover ended with %v", err)
	}
	r := c.report("alloc-stray/0", "failure", hasFailed)
	if r.GetGeneration() != 4 {
		t.Errorf("report %v", r)
	}
}

func TestOneAgentAFolder(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	c.start(dir)
	second, err := New(testConfig(dir), Deps{})
	must(t, err)
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent on the folder: %v", err)
	}
}

func TestCannotStart(t *testing.T) {
	c := newCluster(t)
	m := c.open("127.0.0.1:0")
	other := newCluster(t)
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no token":      {func(cfg *Config) { cfg.JoinToken = "" }, "has not joined"},
		"other cluster": {func(cfg *Config) { cfg.JoinToken = other.token.String() }, "not of the cluster"},
		"no engine":     {func(cfg *Config) { cfg.EngineBinary = "/nowhere/tandem-engine" }, "no engine that works"},
		"engine fails":  {func(cfg *Config) { cfg.EngineBinary = "/bin/false" }, "for devices"},
		"port in use":   {func(cfg *Config) { cfg.Listen = m.address }, "choose another"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.Join, cfg.JoinToken = []string{m.address}, c.token.String()
			tc.change(&cfg)
			a, err := New(cfg, Deps{})
			must(t, err)
			if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := New(Config{}, Deps{}); err == nil || !strings.Contains(err.Error(), "data folder") {
		t.Errorf("empty configuration: %v", err)
	}
}

func TestRing(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	cfg := gossip.DefaultConfig()
	cfg.NodeID, cfg.Role, cfg.Address, cfg.Keys = "node-coordinator", identity.RoleCoordinator, c.members[0], [][]byte{make([]byte, 32)}
	ring, err := gossip.New(cfg, gossip.Deps{Seeds: func() []string { return nil }, Log: zerolog.Nop()})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ring.Run(ctx) }()
	defer func() {
		cancel()
		must(t, <-done)
	}()
	c.gossip = []string{ring.Addr()}
	members := func(n int) []gossip.Member {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			changed := ring.Changed()
			if m := ring.Members(); len(m) == n {
				return m
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("members %v, want %d", ring.Members(), n)
			}
		}
	}
	a := c.start(t.TempDir())
	m := members(2)[0]
	if m.ID != "node-1" || m.Role != identity.RoleWorker || m.Address != a.Address(t.Context()) {
		t.Errorf("member %+v", m)
	}
	a.stop()
	members(1) // it said goodbye: nobody waits for a time-out
}

// TestSilentSession: a coordinator that holds the stream open and says nothing is left for another.
func TestSilentSession(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	c.open("127.0.0.1:0")
	client := c.creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	defer client.CloseIdleConnections()
	s := session{
		node: func() *tandemv1.Node { return &tandemv1.Node{Id: "node-1"} }, coordinators: newCoordinators(client, c.members), silence: 100 * time.Millisecond,
		want: func(*tandemv1.SessionResponse) bool { return true }, keys: func(int64) {}, learned: func([]string) {}, exiles: &exiles{}, viewers: &viewers{},
		metrics: newMetrics("test"), first: make(chan struct{}), log: zerolog.Nop(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.run(ctx) }()
	<-s.first
	c.change(func() { c.mute = true })
	c.await("more sessions", func() bool { return c.opened >= 3 })
	cancel()
	must(t, <-done)
	c.await("the end of the sessions", func() bool { return c.sessions == 0 })
}

// TestRemoved: an agent whose node was removed ends its engines, if it has any, and itself, says why, and finds nothing wrong with that.
func TestRemoved(t *testing.T) {
	for _, busy := range []bool{false, true} {
		c := newCluster(t)
		c.open("127.0.0.1:0")
		cfg := testConfig(t.TempDir())
		cfg.Join, cfg.JoinToken = c.members, c.token.String()
		var said bytes.Buffer
		a, err := New(cfg, Deps{Log: zerolog.New(zerolog.SyncWriter(&said)), OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) {
			return memstore.New(memstore.Config{}), nil
		}})
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		<-a.Ready()
		pid := 0
		if busy {
			c.want(task("wait", 1, 0))
			pid = c.up("alloc-wait1/0")
		}
		c.change(func() { c.removed = true })
		if err := <-done; !errors.Is(err, identity.ErrRemoved) || !strings.Contains(err.Error(), "node-1 was removed: join again") {
			t.Errorf("the agent ended with %v", err)
		}
		if busy {
			gone(t, pid)
		}
		text := said.String()
		if strings.Contains(text, `"level":"error"`) || busy != strings.Contains(text, `"action":"terminate"`) || !strings.Contains(text, "agent ended") {
			t.Errorf("with an engine: %v; it said\n%s", busy, text)
		}
	}
}

// TestJoinWaits: a worker may be started a moment before its coordinator.
func TestJoinWaits(t *testing.T) {
	c := newCluster(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close()) // nobody is there yet
	cfg := testConfig(t.TempDir())
	cfg.Join, cfg.JoinToken = []string{address}, c.token.String()
	tried := make(chan struct{}, 100)
	a, err := New(cfg, Deps{Log: zerolog.New(notice{tried})})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case <-tried:
	case err := <-done:
		t.Fatal(err)
	}
	c.open(address)
	<-a.Ready()
	cancel()
	must(t, <-done)
}

// notice tells that something was logged.
type notice struct{ c chan struct{} }

func (n notice) Write(p []byte) (int, error) {
	select {
	case n.c <- struct{}{}:
	default:
	}
	return len(p), nil
}
