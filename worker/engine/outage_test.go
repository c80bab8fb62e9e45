package engine

import (
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/train"
)

// road leads to the shared store, and can be closed.
type road struct {
	t       *testing.T
	address string

	mu       sync.Mutex
	listener net.Listener // nil while closed
	conns    []net.Conn
}

// newRoad returns one that is closed.
func newRoad(t *testing.T) *road {
	t.Helper()
	r := &road{t: t}
	r.listen("127.0.0.1:0")
	r.close()
	t.Cleanup(r.close)
	return r
}

func (r *road) listen(address string) {
	r.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.address = l, l.Addr().String()
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", shared.config.GetEndpoint())
			if err != nil {
				here.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, here, there)
			if r.listener != l {
				here.Close() // closed meanwhile
				there.Close()
			}
			r.mu.Unlock()
			for _, pair := range [][2]net.Conn{{here, there}, {there, here}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1]) // ends with either connection
					pair[0].Close()
				}()
			}
		}
	}()
}

func (r *road) open() { r.t.Helper(); r.listen(r.address) }

func (r *road) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		r.listener.Close()
		r.listener = nil
	}
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// config is that of the shared store, by this road.
func (r *road) config() *tandemv1.StorageConfig {
	c := proto.CloneOf(shared.config)
	c.Endpoint = r.address
	return c
}

// await returns when an engine shows that it waits for the store at a step.
func await(t *testing.T, a *agent, step int64) {
	t.Helper()
	waits := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, p := range a.progress {
			if p.GetPhase() == train.PhaseStorage && p.GetStep() == step {
				return true
			}
		}
		return false
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !waits(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no engine waits for the store at step %d", step)
		}
	}
}

// Neither the begin of a training nor its end fails because the store is away, and in between it goes on.
func TestStoreOutageIsNoFailure(t *testing.T) {
	road := newRoad(t)
	a := newAgent(t)
	a.onReport = func(r *tandemv1.EngineReport) {
		if r.GetReady() != nil {
			road.close()
		}
	}
	j := training{trial: trial(t, ""), spec: parse(t, mlp), generation: 1}
	task := j.task(t, 0)
	task.Storage = road.config()
	p := a.start(task)
	await(t, a, 0)
	road.open()
	await(t, a, 24)
	road.open()
	if code := p.wait(t); code != 0 || a.last("alloc-1/0").GetFinished() == nil {
		t.Fatalf("code %d, last report %v", code, a.last("alloc-1/0"))
	}
	kept := a.checkpoints("alloc-1/0")
	if len(kept) == 0 || kept[len(kept)-1].GetStep() != 24 {
		t.Errorf("kept %v", kept)
	}
}

// A training that waits for the store can still be ended.
func TestSignalEndsTheWaitForTheStore(t *testing.T) {
	road := newRoad(t)
	a := newAgent(t)
	task := training{trial: trial(t, ""), spec: parse(t, mlp), generation: 1}.task(t, 0)
	task.Storage = road.config()
	p := a.start(task)
	await(t, a, 0)
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A worker that joins later, or takes the place of one that was lost, says in an event what it waits for: the trial's progress is not its own.
func TestLaterWorkerSaysThatItWaitsForTheStore(t *testing.T) {
	road := newRoad(t)
	a := newAgent(t)
	task := training{trial: trial(t, ""), spec: parse(t, pair), generation: 1}.task(t, 1)
	task.Storage = road.config()
	p := a.start(task)
	a.await("alloc-1/1", "what it waits for", func(r *tandemv1.EngineReport) bool {
		return r.GetNote().GetWarning() && strings.Contains(r.GetNote().GetMessage(), "a worker waits for the store")
	})
	road.open()
	a.await("alloc-1/1", "that it is ready", isReady)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}
