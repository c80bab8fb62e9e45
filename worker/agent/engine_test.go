package agent

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/relay"
	"tandem.dev/worker/line"
	"tandem.dev/worker/seal"
)

// fakeEngine is an engine without libtorch. The job of its task names what it does.
func fakeEngine(args []string) int {
	if len(args) > 0 && args[0] == "devices" {
		fmt.Println(`{"libtorch_version":"1.13.1","cuda":false,"devices":[{"kind":"cpu","index":0,"name":"Test CPU","memory_bytes":0}]}`)
		return 0
	}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	var o seal.Options
	flags.BoolVar(&o.Unfiltered, "unfiltered", false, "")
	flags.Int64Var(&o.Memory, "max-memory", 0, "")
	flags.Int64Var(&o.Threads, "max-threads", 0, "")
	flags.Int64Var(&o.Files, "max-files", 0, "")
	id := flags.String("engine", "", "")
	if len(args) == 0 || args[0] != "run" || flags.Parse(args[1:]) != nil {
		return 64
	}
	wire, err := line.Open(line.Descriptor)
	if err == nil {
		err = seal.Close(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake engine:", err)
		return 1
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return wire.Dial(ctx) }}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport.Protocols = &protocols
	host := tandemv1connect.NewEngineHostServiceClient(&http.Client{Transport: transport}, "http://agent")
	e := engineProcess{id: *id, wire: wire, host: host}
	if err := e.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "fake engine:", err)
		return 1
	}
	return 0
}

type engineProcess struct {
	id   string
	wire *line.Line
	host tandemv1connect.EngineHostServiceClient
	task *tandemv1.EngineTask
}

func (e *engineProcess) report(ctx context.Context, r *tandemv1.EngineReport) error {
	r.EngineId, r.Generation = e.id, e.task.GetGeneration()
	_, err := e.host.ReportEngine(ctx, connect.NewRequest(&tandemv1.ReportEngineRequest{Report: r}))
	return err
}

// evaluation is a report that carries figures.
func evaluation(step int64, metrics map[string]float64) *tandemv1.EngineReport {
	return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: step, Metrics: metrics}}}
}

func (e *engineProcess) run(ctx context.Context) error {
	hello, err := e.host.Hello(ctx, connect.NewRequest(&tandemv1.HelloRequest{EngineId: e.id, Pid: int32(os.Getpid())}))
	if err != nil {
		return err
	}
	e.task = hello.Msg.GetTask()
	if s := e.task.GetServe(); s != nil {
		return e.serve(ctx)
	}
	go e.live(ctx)
	err = e.report(ctx, evaluation(0, map[string]float64{"pid": float64(os.Getpid()), "threads": float64(hello.Msg.GetThreads())}))
	if err != nil {
		return err
	}
	if err := e.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 10}}}); err != nil {
		return err
	}
	switch job := e.task.GetTrain().GetJobId(); job {
	case "finish":
		fmt.Println("all done")
		return e.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}})
	case "crash":
		fmt.Fprintln(os.Stderr, "the sky has fallen")
		os.Exit(3)
	case "unreadable":
		os.Exit(line.ExitUnreadable)
	case "environment":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
		fmt.Println(strings.Join(os.Args, " "))
		fmt.Println(e.task)
		if err := e.report(ctx, evaluation(9, nil)); err != nil {
			return err
		}
	case "hoard":
		hoard()
	case "fill":
		if err := fillDisk(); err != nil {
			return err
		}
	case "store":
		if err := e.store(ctx); err != nil {
			return err
		}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		<-time.After(time.Hour) // nor does it notice that its agent is gone
	case "progress":
		_, err := e.host.ReportEngineProgress(ctx, connect.NewRequest(&tandemv1.ReportEngineProgressRequest{EngineId: e.id, Progress: &tandemv1.Progress{
			TrialId: e.task.GetTrain().GetTrialId(), Generation: e.task.GetGeneration(), Step: 7, StepsPerSecond: 12.5,
		}}))
		if err != nil {
			return err
		}
	case "meet":
		if err := e.meet(ctx); err != nil {
			return err
		}
		if err := e.report(ctx, evaluation(9, nil)); err != nil {
			return err
		}
	case "count":
		go e.count(ctx)
	}
	return e.obey(ctx)
}

// hoard takes shared memory until there is none.
func hoard() {
	fd, err := unix.MemfdCreate("hoard", 0)
	for block := make([]byte, 1<<20); err == nil; {
		_, err = unix.Write(fd, block)
	}
	fmt.Fprintln(os.Stderr, "hoard:", err)
	os.Exit(4)
}

// fillDisk writes files for ever, which it removes and keeps open by turns.
func fillDisk() error {
	block := make([]byte, 1<<18)
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(ownFolder, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		if i%2 == 0 {
			err = os.Remove(f.Name())
		}
		for range 4 {
			if err == nil {
				_, err = f.Write(block)
			}
		}
		if err != nil {
			return err
		}
		if i >= 32 { // some MiB of each kind are enough
			select {}
		}
	}
}

// store keeps an object and reports what it has got back, and whether another's is refused.
func (e *engineProcess) store(ctx context.Context) error {
	s := relay.New(e.wire.Dial)
	prefix := e.task.GetTrain().GetCheckpointPrefix()
	body := bytes.Repeat([]byte("state"), 1<<18)
	if err := s.Put(ctx, prefix+"/a", bytes.NewReader(body), int64(len(body))); err != nil {
		return err
	}
	got, err := storage.ReadAll(ctx, s, prefix+"/a", 1<<30)
	if err != nil || !bytes.Equal(got, body) {
		return fmt.Errorf("%d bytes came back: %w", len(got), err)
	}
	_, err = s.Head(ctx, "trials/other/ckpt/a")
	if !errors.Is(err, storage.ErrDenied) {
		return fmt.Errorf("another's object: %w", err)
	}
	return e.report(ctx, evaluation(9, map[string]float64{"bytes": float64(len(got))}))
}

// live says each second that it lives.
func (e *engineProcess) live(ctx context.Context) {
	for range time.Tick(time.Second) {
		_, _ = e.host.ReportEngineProgress(ctx, connect.NewRequest(&tandemv1.ReportEngineProgressRequest{EngineId: e.id})) // its agent may be gone
	}
}

// count reports steps without end, as fast as the agent takes them.
func (e *engineProcess) count(ctx context.Context) {
	for step := int64(1); ; step++ {
		if e.report(ctx, evaluation(step, nil)) != nil {
			os.Exit(5)
		}
	}
}

// meet exchanges a value with the other rank.
func (e *engineProcess) meet(ctx context.Context) error {
	rank := e.task.GetTrain().GetMember()
	_, err := e.host.EngineRendezvousSet(ctx, connect.NewRequest(&tandemv1.EngineRendezvousSetRequest{
		EngineId: e.id, Generation: e.task.GetGeneration(), Key: fmt.Sprintf("rank%d", rank), Value: fmt.Append(nil, 100+rank),
	}))
	if err != nil {
		return err
	}
	res, err := e.host.EngineRendezvousGet(ctx, connect.NewRequest(&tandemv1.EngineRendezvousGetRequest{
		EngineId: e.id, Generation: e.task.GetGeneration(), Key: fmt.Sprintf("rank%d", 1-rank),
	}))
	if err != nil {
		return err
	}
	fmt.Printf("rank %d met %s\n", rank, res.Msg.GetValue())
	return nil
}

// obey waits for commands.
func (e *engineProcess) obey(ctx context.Context) error {
	stream, err := e.host.Control(ctx, connect.NewRequest(&tandemv1.ControlRequest{EngineId: e.id}))
	if err != nil {
		return err
	}
	for stream.Receive() {
		if stream.Msg().GetStop() != nil {
			return e.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: 42}}})
		}
	}
	return fmt.Errorf("the agent is gone: %w", stream.Err())
}

func (e *engineProcess) serve(ctx context.Context) error {
	l, err := net.FileListener(os.NewFile(line.Descriptor+1, "serve"))
	if err != nil {
		return err
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/break" {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprintf(w, "%s %s by %d", r.Method, r.URL.RequestURI(), os.Getpid())
		}))
	}()
	if err := e.report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}}); err != nil {
		return err
	}
	if e.task.GetServe().GetModel() == "hang" {
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			return err
		}
	}
	return e.obey(ctx)
}
