package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/spec"
	specs "tandem.dev/coordinator/spec"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/embedded"
	"tandem.dev/storage/relay"
	"tandem.dev/storage/s3"
	"tandem.dev/worker/data"
	"tandem.dev/worker/line"
	"tandem.dev/worker/torch"
)

// beEngine makes the test's own binary an engine, so that ranks are real processes.
const beEngine = "TANDEM_TEST_BE_ENGINE"

// The store that all tests share: there is one embedded server in a process.
var shared struct {
	home   string // this folder; the server changes the working directory
	store  storage.Store
	config *tandemv1.StorageConfig
}

func TestMain(m *testing.M) {
	if os.Getenv(beEngine) != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(withStore(m.Run))
}

func withStore(tests func() int) int {
	dir, err := os.MkdirTemp("", "tandem-engine-test")
	if err != nil {
		panic(err)
	}
	if shared.home, err = os.Getwd(); err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.New(embedded.Config{Dir: dir, AccessKey: "engine-test", SecretKey: "engine-test-secret"})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	select {
	case <-server.Ready():
	case err := <-ended:
		panic(err)
	}
	c := server.ClientConfig()
	if shared.store, err = s3.New(c); err != nil {
		panic(err)
	}
	shared.config = &tandemv1.StorageConfig{
		Endpoint: c.Endpoint, Bucket: c.Bucket, Prefix: c.Prefix, Region: c.Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey, CaPem: c.CAPEM, Tls: c.TLS,
	}
	if err := torch.Init(torch.Options{Threads: 1, Deterministic: true}); err != nil {
		panic(err)
	}
	return tests()
}

// agent is what an agent is to its engines.
type agent struct {
	tandemv1connect.UnimplementedEngineHostServiceHandler
	t     *testing.T
	calls calls
	dir   string

	mu         sync.Mutex
	cond       *sync.Cond
	tasks      map[string]*tandemv1.EngineTask
	next       map[string]*tandemv1.EngineTask // what the process of an engine does after it
	reports    map[string][]*tandemv1.EngineReport
	progress   []*tandemv1.Progress
	rendezvous map[string][]byte                      // by generation and key
	commands   map[string][]*tandemv1.ControlResponse // for each engine, oldest first
	grouped    map[string]int64                       // allocations that were given their first group, and its generation
	hangUp     chan struct{}                          // closed: the streams of commands end
	onReport   func(*tandemv1.EngineReport)
}

func newAgent(t *testing.T) *agent {
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a unix socket
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{
		t: t, dir: dir, calls: calls{make(chan net.Conn), make(chan struct{})}, tasks: map[string]*tandemv1.EngineTask{},
		reports: map[string][]*tandemv1.EngineReport{}, rendezvous: map[string][]byte{}, commands: map[string][]*tandemv1.ControlResponse{}, grouped: map[string]int64{}, hangUp: make(chan struct{}),
	}
	a.cond = sync.NewCond(&a.mu)
	mux := http.NewServeMux()
	mux.Handle(tandemv1connect.NewEngineHostServiceHandler(a))
	mux.Handle(relay.Path, relay.Handler(func(r *http.Request) (relay.Access, error) {
		return relay.Access{Store: r.Context().Value(storeKey{}).(storage.Store)}, nil
	}))
	server := &http.Server{Handler: mux, ConnContext: withStoreOf} //nolint:gosec // a test
	go func() { _ = server.Serve(a.calls) }()                      // ends with Close
	t.Cleanup(func() { server.Close(); os.RemoveAll(dir) })
	return a
}

func (a *agent) Hello(_ context.Context, r *connect.Request[tandemv1.HelloRequest]) (*connect.Response[tandemv1.HelloResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	task := a.tasks[r.Msg.GetEngineId()]
	if task == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no engine %s", r.Msg.GetEngineId()))
	}
	task = proto.CloneOf(task)
	task.Storage = nil
	return connect.NewResponse(&tandemv1.HelloResponse{Task: task, Threads: 1, NodeId: "node-1"}), nil
}

func (a *agent) NextTask(_ context.Context, r *connect.Request[tandemv1.NextTaskRequest]) (*connect.Response[tandemv1.NextTaskResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	task := a.next[r.Msg.GetEngineId()]
	if task == nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("no task"))
	}
	a.tasks[task.GetId()] = task
	return connect.NewResponse(&tandemv1.NextTaskResponse{EngineId: task.GetId()}), nil
}

func (a *agent) Control(ctx context.Context, r *connect.Request[tandemv1.ControlRequest], s *connect.ServerStream[tandemv1.ControlResponse]) error {
	if err := s.Send(&tandemv1.ControlResponse{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, a.cond.Broadcast)()
	for told := 0; ; told++ {
		a.mu.Lock()
		for len(a.commands[r.Msg.GetEngineId()]) <= told && ctx.Err() == nil && !a.hungUp() {
			a.cond.Wait()
		}
		all := a.commands[r.Msg.GetEngineId()]
		a.mu.Unlock()
		if len(all) <= told {
			return nil
		}
		if err := s.Send(all[told]); err != nil {
			return err
		}
	}
}

func (a *agent) hungUp() bool {
	select {
	case <-a.hangUp:
		return true
	default:
		return false
	}
}

// command gives an engine a command.
func (a *agent) command(engine string, c *tandemv1.ControlResponse) {
	a.mu.Lock()
	a.commands[engine] = append(a.commands[engine], c)
	a.mu.Unlock()
	a.cond.Broadcast()
}

// stop asks an engine to stop with a checkpoint.
func (a *agent) stop(engine string) {
	a.command(engine, &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Stop{Stop: &tandemv1.StopCommand{}}})
}

// group makes engines the ranks of a generation, in order.
func (a *agent) group(generation int64, planned bool, engines ...string) {
	for rank, engine := range engines {
		a.command(engine, &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Group{Group: &tandemv1.ProcessGroup{
			Generation: generation, Rank: int32(rank), WorldSize: int32(len(engines)), LocalRank: int32(rank), Planned: planned,
		}}})
	}
}

// firstGroup gives the engines of an allocation their first group when all are ready, as the coordinator does.
func (a *agent) firstGroup(engine string) {
	alloc, _, _ := strings.Cut(engine, "/")
	a.mu.Lock()
	var engines []string
	for id, task := range a.tasks {
		if strings.HasPrefix(id, alloc+"/") && task.GetTrain() != nil {
			engines = append(engines, id)
		}
	}
	generation := a.tasks[engine].GetGeneration()
	all := int32(len(engines)) == max(1, a.tasks[engine].GetTrain().GetSpec().GetResources().GetWorkers())
	for _, id := range engines {
		all = all && slices.ContainsFunc(a.reports[id], func(r *tandemv1.EngineReport) bool { return r.GetReady() != nil })
	}
	all = all && a.grouped[alloc] == 0 && len(engines) > 0
	if all {
		a.grouped[alloc] = generation
	}
	a.mu.Unlock()
	if all {
		slices.Sort(engines)
		a.group(generation, false, engines...)
	}
}

func (a *agent) ReportEngine(_ context.Context, r *connect.Request[tandemv1.ReportEngineRequest]) (*connect.Response[tandemv1.ReportEngineResponse], error) {
	report := r.Msg.GetReport()
	a.mu.Lock()
	a.reports[report.GetEngineId()] = append(a.reports[report.GetEngineId()], report)
	hook := a.onReport
	a.mu.Unlock()
	if hook != nil {
		hook(report)
	}
	if report.GetReady() != nil {
		a.firstGroup(report.GetEngineId())
	}
	a.cond.Broadcast()
	return connect.NewResponse(&tandemv1.ReportEngineResponse{}), nil
}

func (a *agent) ReportEngineProgress(_ context.Context, r *connect.Request[tandemv1.ReportEngineProgressRequest]) (*connect.Response[tandemv1.ReportEngineProgressResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := r.Msg.GetProgress(); p != nil { // else a sign of life
		a.progress = append(a.progress, p)
	}
	return connect.NewResponse(&tandemv1.ReportEngineProgressResponse{}), nil
}

func (a *agent) EngineRendezvousSet(_ context.Context, r *connect.Request[tandemv1.EngineRendezvousSetRequest]) (*connect.Response[tandemv1.EngineRendezvousSetResponse], error) {
	a.mu.Lock()
	a.rendezvous[fmt.Sprint(r.Msg.GetGeneration(), r.Msg.GetKey())] = r.Msg.GetValue()
	a.mu.Unlock()
	a.cond.Broadcast()
	return connect.NewResponse(&tandemv1.EngineRendezvousSetResponse{}), nil
}

func (a *agent) EngineRendezvousGet(ctx context.Context, r *connect.Request[tandemv1.EngineRendezvousGetRequest]) (*connect.Response[tandemv1.EngineRendezvousGetResponse], error) {
	defer context.AfterFunc(ctx, a.cond.Broadcast)()
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprint(r.Msg.GetGeneration(), r.Msg.GetKey())
	for a.rendezvous[key] == nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a.cond.Wait()
	}
	return connect.NewResponse(&tandemv1.EngineRendezvousGetResponse{Value: a.rendezvous[key]}), nil
}

// call is a connection of an engine, whose task is in a store.
type call struct {
	net.Conn
	store storage.Store
}

type storeKey struct{}

func withStoreOf(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, storeKey{}, conn.(call).store)
}

// calls is where the connections of engines arrive.
type calls struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (c calls) put(conn net.Conn) {
	select {
	case c.conns <- conn:
	case <-c.closed:
		conn.Close()
	}
}

func (c calls) Accept() (net.Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

func (c calls) Close() error {
	close(c.closed)
	return nil
}

func (c calls) Addr() net.Addr { return &net.UnixAddr{} }

// listen makes the socket that a replica inherits.
func (a *agent) listen(name string) *os.File {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(a.dir, name), Net: "unix"})
	if err != nil {
		a.t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { f.Close() })
	return f
}

// openSegment opens the memory of another rank, whatever it is.
func openSegment(_ context.Context, r *tandemv1.FileRequest) (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", r.GetSegment().GetPid(), r.GetSegment().GetFd()), os.O_RDWR, 0)
}

// process is a running engine.
type process struct {
	cmd    *exec.Cmd
	log    bytes.Buffer
	exited chan int
}

// start runs an engine with a task.
func (a *agent) start(task *tandemv1.EngineTask, env ...string) *process {
	a.t.Helper()
	a.mu.Lock()
	a.tasks[task.GetId()] = task
	a.mu.Unlock()
	self, err := os.Executable()
	if err != nil {
		a.t.Fatal(err)
	}
	store, err := s3.New(s3.ConfigOf(task.GetStorage()))
	if err != nil {
		a.t.Fatal(err)
	}
	p := &process{exited: make(chan int, 1)}
	wire, end, err := line.New()
	if err != nil {
		a.t.Fatal(err)
	}
	defer end.Close()
	p.cmd = exec.Command(self, "run", "--engine", task.GetId()) //nolint:gosec // this test
	p.cmd.Dir, p.cmd.ExtraFiles = a.dir, []*os.File{end}
	if task.GetServe() != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, a.listen("serve.sock"))
	}
	p.cmd.Env = append(os.Environ(), beEngine+"=1", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1")
	if os.Getenv("TANDEM_TEST_CUDA") == "" { // make gpu
		p.cmd.Env = append(p.cmd.Env, "CUDA_VISIBLE_DEVICES=")
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	go wire.Serve(context.Background(), func(conn net.Conn) { a.calls.put(call{conn, store}) }, openSegment) // ends with the process
	go func() {
		_ = p.cmd.Wait() // the exit code says all
		p.exited <- p.cmd.ProcessState.ExitCode()
	}()
	a.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if a.t.Failed() {
			a.t.Logf("log of %s:\n%s", task.GetId(), p.log.String())
		}
	})
	return p
}

// wait returns the exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.exited:
		p.exited <- code
		return code
	case <-time.After(2 * time.Minute):
		t.Fatal("the engine does not end")
		return 0
	}
}

// last returns the last report of an engine.
func (a *agent) last(id string) *tandemv1.EngineReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.reports[id]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// await waits for a report of an engine.
func (a *agent) await(id, what string, is func(*tandemv1.EngineReport) bool) *tandemv1.EngineReport {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, a.cond.Broadcast)()
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if i := slices.IndexFunc(a.reports[id], is); i >= 0 {
			return a.reports[id][i]
		}
		if ctx.Err() != nil {
			a.t.Fatalf("%s does not report %s; it said %v", id, what, a.reports[id])
		}
		a.cond.Wait()
	}
}

// checkpoints returns those reported by an engine.
func (a *agent) checkpoints(id string) (all []*tandemv1.Checkpoint) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.reports[id] {
		if c := r.GetCheckpoint().GetCheckpoint(); c != nil {
			all = append(all, c)
		}
	}
	return all
}

// digits puts the digits into the store, once.
var digits = sync.OnceValues(func() (string, error) {
	file, err := os.Open(filepath.Join(shared.home, "../../examples/digits/digits.csv"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	o := dataset.DefaultOptions()
	o.Label, o.Shape, o.Normalize = "label", []int64{1, 8, 8}, dataset.Normalize{Method: dataset.MethodScale, Factor: 1. / 16}
	const prefix = "datasets/data-digits"
	_, _, err = dataset.FromCSV(context.Background(), file, o, func(name string, b []byte) error {
		return shared.store.Put(context.Background(), prefix+"/"+name, bytes.NewReader(b), int64(len(b)))
	})
	return prefix, err
})

// training is a job that a test trains.
type training struct {
	trial      string
	spec       *tandemv1.JobSpec
	generation int64
	resume     *tandemv1.Checkpoint
	dataset    string // prefix; empty: the digits
}

// parse returns a spec for the digits as the coordinator accepts it.
func parse(t *testing.T, text string, sets ...string) *tandemv1.JobSpec {
	t.Helper()
	return parseFor(t, &tandemv1.Dataset{
		Id: "data-digits", Name: "digits", Version: 1, Task: "classification", Shape: []int64{1, 8, 8},
		Rows: map[string]int64{data.Train: 1437, data.Validation: 180, data.Test: 180},
	}, text, sets...)
}

func parseFor(t *testing.T, d *tandemv1.Dataset, text string, sets ...string) *tandemv1.JobSpec {
	t.Helper()
	s, err := spec.Parse("job.yaml", []byte(text), sets)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = specs.Complete(s, func(string) (*tandemv1.Dataset, error) { return d, nil }); err != nil {
		t.Fatal(err)
	}
	return s
}

func (j training) hash() string {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(j.spec)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// task is that of one rank.
func (j training) task(t *testing.T, rank int) *tandemv1.EngineTask {
	t.Helper()
	prefix := j.dataset
	if prefix == "" {
		var err error
		if prefix, err = digits(); err != nil {
			t.Fatal(err)
		}
	}
	return &tandemv1.EngineTask{
		Id: fmt.Sprintf("alloc-%d/%d", j.generation, rank), Generation: j.generation, SlotId: "cpu0", Storage: shared.config,
		Task: &tandemv1.EngineTask_Train{Train: &tandemv1.TrainTask{
			JobId: "job-1", TrialId: j.trial, AllocationId: fmt.Sprintf("alloc-%d", j.generation), Spec: j.spec, SpecHash: j.hash(),
			Member: int32(rank), BindHost: "127.0.0.1",
			Resume: j.resume, DatasetPrefix: prefix, CheckpointPrefix: "trials/" + j.trial + "/ckpt",
		}},
	}
}

// start starts all ranks.
func (j training) start(a *agent) []*process {
	var all []*process
	for rank := range int(max(1, j.spec.GetResources().GetWorkers())) {
		all = append(all, a.start(j.task(a.t, rank)))
	}
	return all
}

// finish trains to the end and returns the agent that saw it.
func (j training) finish(t *testing.T) *agent {
	t.Helper()
	a := newAgent(t)
	for rank, p := range j.start(a) {
		if code := p.wait(t); code != 0 {
			t.Fatalf("rank %d ended with code %d: %v", rank, code, a.last(fmt.Sprintf("alloc-%d/%d", j.generation, rank)))
		}
	}
	return a
}

// trial names a trial after its test.
func trial(t *testing.T, suffix string) string {
	return "trial-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", ":", "-").Replace(t.Name())) + suffix
}
