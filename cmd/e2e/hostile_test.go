package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/relay"
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
	Engine  string   // id of another's engine
	Shard   string   // key of an object of another dataset
	Objects []string // keys of objects that no task needs
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
	task := hello.Msg.GetTask()
	asked := append(deceive(ctx, host, wire, *id, t), plunder(ctx, wire, task, t.Objects)...)
	able := append(sandboxtest.Try(t.Prey, o.Unfiltered), asked...) // last, for it leaves no descriptor free
	b, err := json.Marshal(able)
	if err != nil {
		return err
	}
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
		_, err = wire.File(ctx, &tandemv1.FileRequest{EngineId: id,
			File: &tandemv1.FileRequest_Segment{Segment: &tandemv1.SegmentFile{Pid: int32(t.Parent), Fd: fd}}})
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

// readOwn is what a hostile engine may do with the store: it shows that the attempts reach it.
const readOwn = "read what it is made of"

// plunder lists what the process was able to do with the store: what was not refused as another's.
func plunder(ctx context.Context, wire *line.Line, task *tandemv1.EngineTask, others []string) (able []string) {
	store := relay.New(wire.Dial)
	defer store.Close()
	note := func(what string, err error) {
		if !errors.Is(err, storage.ErrDenied) {
			able = append(able, fmt.Sprintf("%s (%v)", what, err))
		}
	}
	if task.GetStorage() != nil {
		able = append(able, "the store's keys")
	}
	// It has one of them.
	own := task.GetTrain().GetDatasetPrefix() + task.GetPublish().GetDatasetPrefix() + task.GetServe().GetVersionPrefix()
	if _, err := storage.ReadAll(ctx, store, own+"/manifest.json", storage.MaxCommit); err == nil {
		able = append(able, readOwn)
	}
	for _, key := range append([]string{own + "/manifest.json", own + "/new"}, others...) {
		note("write "+key, store.Put(ctx, key, strings.NewReader("x"), 1))
		note("commit "+key, store.PutIfAbsent(ctx, key, []byte("x")))
		note("delete "+key, store.Delete(ctx, key))
	}
	for _, key := range others {
		_, err := store.Head(ctx, key)
		note("look at "+key, err)
		_, _, err = store.Get(ctx, key)
		note("read "+key, err)
		_, err = store.GetRange(ctx, key, 0, 1)
		note("read a part of "+key, err)
		for _, path := range []string{own + "/../../" + key, own + "/%2e%2e/%2e%2e/" + key, "/" + key, own + "//" + key} {
			if ask(ctx, wire, path) == nil {
				able = append(able, "read "+path)
			}
		}
	}
	for _, prefix := range []string{"", "t", "trials", "trials/", "models/", "datasets/", "artifacts/", "audit/", own} {
		for _, err := range store.List(ctx, prefix) {
			note("list "+prefix, err)
		}
	}
	if v := task.GetPublish().GetVersionPrefix(); v != "" {
		note("delete a version", store.Delete(ctx, v+"/manifest.json"))
	}
	return able
}

// ask reads an object under a path that is sent as it is.
func ask(ctx context.Context, wire *line.Line, path string) error {
	conn, err := wire.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n", relay.Path, path); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}
