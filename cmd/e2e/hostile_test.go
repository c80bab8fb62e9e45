package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/worker/line"
	"tandem.dev/worker/sandbox/sandboxtest"
	"tandem.dev/worker/seal"
)

// hostileVariable makes this test's program a hostile engine; it holds what that is to go for.
const hostileVariable = "TANDEM_E2E_HOSTILE"

// hostileMark begins the line that says what a hostile engine was able to do.
const hostileMark = "HOSTILE "

// target is what a hostile engine goes for.
type target struct {
	sandboxtest.Prey
	Engine string // id of another's engine
	Shard  string // key of an object of another dataset
}

// hostileEngine is what a model could be that has taken over its engine, after that gave up what it gives up: it tries to leave the sandbox, and
// to deceive the agent. Then it fails.
func hostileEngine(args []string) int {
	if len(args) > 0 && args[0] == "devices" {
		fmt.Println(`{"libtorch_version":"1.13.1","devices":[{"kind":"cpu","name":"CPU"}]}`)
		return 0
	}
	if err := hostileRun(args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hostile engine:", err)
		return 1
	}
	return 0
}

func hostileRun(args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	var o seal.Options
	flags.BoolVar(&o.Unfiltered, "unfiltered", false, "")
	flags.Int64Var(&o.Memory, "max-memory", 0, "")
	flags.Int64Var(&o.Threads, "max-threads", 0, "")
	flags.Int64Var(&o.Files, "max-files", 0, "")
	id := flags.String("engine", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var t target
	if err := json.Unmarshal([]byte(os.Getenv(hostileVariable)), &t); err != nil {
		return err
	}
	t.Parent = os.Getppid()
	wire, err := line.Open(line.Descriptor)
	if err != nil {
		return err
	}
	if err := seal.Close(o); err != nil {
		return err
	}
	ctx := context.Background()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return wire.Dial(ctx) }}
	host := tandemv1connect.NewEngineHostServiceClient(&http.Client{Transport: transport}, "http://agent")
	hello, err := host.Hello(ctx, connect.NewRequest(&tandemv1.HelloRequest{EngineId: *id}))
	if err != nil {
		return err
	}
	able := append(sandboxtest.Try(t.Prey, o.Unfiltered), deceive(ctx, host, wire, *id, t)...)
	b, err := json.Marshal(able)
	if err != nil {
		return err
	}
	task := hello.Msg.GetTask()
	kind := map[bool]string{true: "serve", false: "train"}[task.GetServe() != nil]
	if task.GetPublish() != nil {
		kind = "publish"
	}
	fmt.Println(hostileMark + kind + " " + string(b))
	_, err = host.ReportEngine(ctx, connect.NewRequest(&tandemv1.ReportEngineRequest{Report: &tandemv1.EngineReport{
		EngineId: *id, Generation: task.GetGeneration(),
		Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "it was hostile", Permanent: true}},
	}}))
	return err
}

// deceive lists what the agent was talked into.
func deceive(ctx context.Context, host tandemv1connect.EngineHostServiceClient, wire *line.Line, id string, t target) (able []string) {
	note := func(what string, err error) {
		if err == nil {
			able = append(able, what)
		}
	}
	_, err := host.Hello(ctx, connect.NewRequest(&tandemv1.HelloRequest{EngineId: t.Engine}))
	note("another's task", err)
	_, err = host.ReportEngine(ctx, connect.NewRequest(&tandemv1.ReportEngineRequest{Report: &tandemv1.EngineReport{
		EngineId: t.Engine, Generation: 1, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}},
	}}))
	note("speak for another", err)
	for fd := range int32(64) {
		_, err = wire.File(ctx, &tandemv1.FileRequest{EngineId: id, File: &tandemv1.FileRequest_Segment{Segment: &tandemv1.SegmentFile{Pid: int32(t.Parent), Fd: fd}}})
		note("a descriptor of the agent", err)
	}
	for _, key := range []string{t.Shard, "../" + t.Shard} {
		_, err = wire.File(ctx, &tandemv1.FileRequest{EngineId: id, File: &tandemv1.FileRequest_Shard{Shard: &tandemv1.ShardFile{
			Key: key, Sha256: strings.Repeat("0", 64), Bytes: 10,
		}}})
		note("an object of another dataset", err)
	}
	return able
}
