package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/plain"
	"tandem.dev/proto/say"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const aSpec = "name: digits\ndataset: digits\nmodel: {mlp: {hidden: [8]}}\ntraining: {batch: 8, epochs: 1}\n"

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ended(state tandemv1.JobState, reason string) *tandemv1.WatchJobResponse {
	return &tandemv1.WatchJobResponse{
		Job: &tandemv1.Job{
			Id: "job-1", Name: "digits", State: state, Reason: reason,
			Spec: &tandemv1.JobSpec{Metric: "accuracy", Mode: "max"},
		},
		Trials: []*tandemv1.Trial{{Id: "trial-1", Evaluations: []*tandemv1.Evaluation{
			{Step: 5, Epoch: 1, Metrics: map[string]float64{"accuracy": 0.9}},
			{Step: 10, Epoch: 2, Metrics: map[string]float64{"accuracy": 0.8}},
		}}},
	}
}

func TestExitCodesOfWait(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		state tandemv1.JobState
		code  int
	}{
		{tandemv1.JobState_JOB_STATE_COMPLETED, exitOK},
		{tandemv1.JobState_JOB_STATE_FAILED, exitFailed},
		{tandemv1.JobState_JOB_STATE_CANCELLED, exitCancelled},
	} {
		f := &fake{watch: func(_ context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
			return send(ended(c.state, "because"))
		}}
		u := newUser(t, ca.pem, ca.serve(t, f))
		u.want(u.run("wait", "job-1"), c.code, plain.Word(c.state), "validation accuracy 0.9 at step 5")
		u.want(u.run("wait", "job-1", "-o", "json"), c.code)
		var got map[string]any
		if err := json.Unmarshal([]byte(u.out.String()), &got); err != nil {
			t.Errorf("%v in %s", err, u.out.String())
		}
	}
}

func TestExitCodesOfErrors(t *testing.T) {
	ca := newAuthority(t)
	for code, want := range map[connect.Code]int{
		connect.CodeInvalidArgument: exitUsage, connect.CodeNotFound: exitNotFound, connect.CodePermissionDenied: exitDenied,
		connect.CodeFailedPrecondition: exitConflict, connect.CodeAlreadyExists: exitConflict, connect.CodeInternal: exitError,
	} {
		f := &fake{get: func(string) (*tandemv1.GetJobResponse, error) {
			return nil, connect.NewError(code, errors.New("in so many words"))
		}}
		u := newUser(t, ca.pem, ca.serve(t, f))
		u.want(u.run("describe", "x"), want, "tandem: in so many words")
	}
}

func TestUsageErrors(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	for _, args := range [][]string{
		{"nonsense"}, {"describe"}, {"describe", "a", "b"}, {"list", "--nonsense"}, {"list", "-o", "xml"}, {"list", "--state", "asleep"},
		{"submit"}, {"submit", "-f", write(t, u.dir, "bad.yaml", "nam: x")}, {"token", "create", "--role", "worker"}, {"node"},
		{"dataset", "create", "x", "--from", "x.csv", "--label", "l", "--split", "much"}, {"predict", "x"}, {"submit", "-f", "none.yaml"},
		{"dataset", "create", "x", "--from", "x.csv", "--label", "l", "--shape", "2,x"}, {"dataset", "create", "x", "--from", "x.csv", "--label", "l", "--shape", "2,"}, {"up", "--workers", "-1"},
		{"up", "--slots", "-3"}, {"up", "--listen", "foo"}, {"up", "--listen", "127.0.0.1:70000"}, {"up", "--listen", "127.0.0.1:x"},
		{"completion", "foo"}, {"pause"}, {"cancel", "-y"}, {"checkpoint", "delete"},
	} {
		if len(args) == 1 && args[0] == "node" {
			u.want(u.run(args...), exitOK, "cordon")
			continue
		}
		u.want(u.run(args...), exitUsage)
		if !strings.HasPrefix(u.err.String(), "tandem: ") || u.out.String() != "" {
			t.Errorf("%v: something was said before: %s%s", args, u.out.String(), u.err.String())
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	u.want(u.run("list"), exitUnreachable, "no coordinator answers at 127.0.0.1:1", "`tandem up`")
	u.want(u.run("wait", "x"), exitUnreachable, "no coordinator answers")
	u.want(u.run("logs", "x"), exitUnreachable, "no coordinator answers")
	u.want(u.run("api", "/v1/jobs"), exitUnreachable, "no coordinator answers")
	u.env["TANDEM_CONFIG"] = filepath.Join(u.dir, "none.yaml")
	u.want(u.run("list"), exitUnreachable, "no cluster is known")
}

func TestWrongTokenAndWrongCluster(t *testing.T) {
	ca := newAuthority(t)
	address := ca.serve(t, &fake{})
	u := newUser(t, ca.pem, address)
	u.env["TANDEM_ENDPOINT"], u.env["TANDEM_TOKEN"], u.env["TANDEM_CA"] = address, "tdm_other", write(t, u.dir, "ca.pem", ca.pem)
	for _, args := range [][]string{{"list"}, {"logs", "x"}, {"api", "/v1/jobs"}} {
		u.want(u.run(args...), exitDenied, `the cluster refuses the token of context`, "tandem token create")
		if n := strings.Count(u.err.String(), "refuses the token"); n != 1 {
			t.Errorf("%v says so %d times: %s", args, n, u.err.String())
		}
	}
	u.env["TANDEM_TOKEN"] = secret
	u.want(u.run("list"), exitOK)
	u.env["TANDEM_CA"] = write(t, u.dir, "other.pem", newAuthority(t).pem)
	u.want(u.run("list"), exitError, "is not a coordinator of the cluster")
}

func TestContextsModeIsChecked(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	path := u.env["TANDEM_CONFIG"]
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	u.want(u.run("list"), exitError, "others can read it", "chmod 600")
}

func TestContexts(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	file, err := client.Load(u.env["TANDEM_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	file.Put(client.Context{Name: "other", Endpoints: []string{"127.0.0.1:2"}, Token: "t"})
	if err := file.Save(); err != nil {
		t.Fatal(err)
	}
	u.want(u.run("context", "use", "other"), exitOK, "127.0.0.1:2")
	u.want(u.run("list"), exitUnreachable, "127.0.0.1:2")
	u.want(u.run("list", "--context", "test"), exitUnreachable, "127.0.0.1:1")
	u.want(u.run("list", "--context", "third"), exitNotFound, `no context "third"`, "test, other")
	u.want(u.run("context", "use", "third"), exitNotFound, `no context "third"`)
	u.want(u.run("context", "list", "-o", "json"), exitOK, `"current": true`)
}

// TestAddContext: somebody who was given an address, a CA and a token sets up their first context.
func TestAddContext(t *testing.T) {
	ca := newAuthority(t)
	address := ca.serve(t, &fake{})
	u := newUser(t, ca.pem, address)
	u.env["TANDEM_CONFIG"] = filepath.Join(u.dir, "mine", "contexts.yaml")
	pem, tok := write(t, u.dir, "lab.pem", ca.pem), write(t, u.dir, "token", secret+"\n")
	add := []string{"context", "add", "lab", "--endpoint", "https://" + address + "/", "--ca-file", pem, "--token-file", tok}
	u.want(u.run("list"), exitUnreachable, "no cluster is known", "tandem context add")
	u.want(u.run(add...), exitOK, "commands go to "+address)
	if strings.Contains(u.out.String()+u.err.String(), secret) {
		t.Error("the token is shown")
	}
	u.want(u.run("list"), exitOK)

	u.want(u.run(add...), exitUsage, "Replace context lab", "add -y")
	u.want(u.run(append(add, "-y", "-o", "json")...), exitOK, `"current": true`)
	u.want(u.run("context", "add", "other", "--endpoint", "127.0.0.1:1,127.0.0.1:2", "--token-file", tok), exitOK, "context use other")
	u.want(u.run("context", "list"), exitOK, "127.0.0.1:1, 127.0.0.1:2")
	u.env["TANDEM_TOKEN"] = "tdm_environment"
	u.want(u.run("context", "add", "third", "--endpoint", "127.0.0.1:1"), exitOK)
	delete(u.env, "TANDEM_TOKEN")

	join := identity.NewJoinToken(identity.RoleWorker, ca.cert).String()
	for want, args := range map[string][]string{
		"NAME is missing":           {"--endpoint", address, "--token-file", tok},
		"--endpoint is missing":     {"x", "--token-file", tok},
		"is not host:port":          {"x", "--endpoint", "10.0.0.1", "--token-file", tok},
		"needs a token":             {"x", "--endpoint", address},
		"one word":                  {"x", "--endpoint", address, "--token-file", pem},
		"lets a node join":          {"x", "--endpoint", address, "--token-file", write(t, u.dir, "join", join)},
		"not a certificate in PEM":  {"x", "--endpoint", address, "--token-file", tok, "--ca-file", tok},
		"read the CA":               {"x", "--endpoint", address, "--token-file", tok, "--ca-file", filepath.Join(u.dir, "none")},
		"has no slash in it":        {"../x", "--endpoint", address, "--token-file", tok},
		"read secret":               {"x", "--endpoint", address, "--token-file", filepath.Join(u.dir, "none")},
		`unknown flag: --endpoints`: {"x", "--endpoints", address},
	} {
		u.want(u.run(append([]string{"context", "add"}, args...)...), exitUsage, want)
	}
	u.want(u.run("context", "describe"), exitUsage, `unknown command "describe"`)
}

// TestForgottenContext: no copy of its token stays behind.
func TestForgottenContext(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	tok := write(t, u.dir, "given", "tdm_other")
	u.want(u.run("context", "add", "other", "--endpoint", "127.0.0.1:2", "--token-file", tok), exitOK)
	u.want(u.run("context", "remove", "other", "-y"), exitOK, "other is forgotten")
	if err := os.Remove(tok); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(u.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		b, err := os.ReadFile(filepath.Join(u.dir, e.Name()))
		if err != nil || strings.Contains(string(b), "tdm_other") || strings.HasPrefix(e.Name(), "other") {
			t.Errorf("%s is left: %s, %v", e.Name(), b, err)
		}
	}
	u.want(u.run("list"), exitUnreachable, "127.0.0.1:1") // the other one works on
}

// TestOutputWithoutACluster: what needs no coordinator obeys -o too.
func TestOutputWithoutACluster(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	want := map[string]any{"name": "test", "current": true, "endpoints": []any{"127.0.0.1:1"}}
	gone := map[string]any{"name": "test", "current": false, "endpoints": []any{"127.0.0.1:1"}}
	for _, tc := range []struct {
		args []string
		want any
	}{
		{[]string{"version"}, map[string]any{"version": version(), "release": release, "commit": "", "modified": false, "level": fmt.Sprint(schema.Known), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}},
		{[]string{"context", "list"}, []any{want}},
		{[]string{"context", "use", "test"}, want},
		{[]string{"context", "remove", "test", "-y"}, gone},
	} {
		file := u.env["TANDEM_CONFIG"]
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for form, decode := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": yaml.Unmarshal} {
			write(t, u.dir, filepath.Base(file), string(before))
			u.want(u.run(append(tc.args, "-o", form)...), exitOK)
			var got any
			if err := decode([]byte(u.out.String()), &got); err != nil {
				t.Errorf("%v -o %s: %v in %s", tc.args, form, err, u.out.String())
			}
			if m, ok := got.(map[string]any); ok && m["level"] != nil {
				m["level"] = fmt.Sprint(m["level"]) // JSON and YAML read numbers as different types
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%v -o %s: %s", tc.args, form, diff)
			}
			if form == "yaml" && strings.HasPrefix(u.out.String(), "{") {
				t.Errorf("%v -o yaml: %s", tc.args, u.out.String())
			}
		}
	}
}

// TestSubmitIsRetriedWithTheSameRequestID: the coordinator that was asked goes away, and the next one knows the request.
func TestSubmitIsRetriedWithTheSameRequestID(t *testing.T) {
	ca := newAuthority(t)
	var ids []string
	f := &fake{submit: func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		ids = append(ids, r.GetRequestId())
		if len(ids) < 4 {
			return nil, connect.NewError(connect.CodeUnavailable, errors.New("no leader"))
		}
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-1"}}, nil
	}}
	u := newUser(t, ca.pem, "127.0.0.1:1", ca.serve(t, f))
	u.want(u.run("submit", "-f", write(t, u.dir, "job.yaml", aSpec)), exitOK, "job-1 submitted")
	if len(ids) != 4 || ids[0] == "" {
		t.Fatalf("request ids %q", ids)
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("request ids differ: %q", ids)
		}
	}
	first := ids[0]
	u.want(u.run("submit", "-f", filepath.Join(u.dir, "job.yaml")), exitOK)
	if ids[4] == first {
		t.Error("another submit has the same request id")
	}
}

// TestTokenIsNotMadeTwice: what has no request id is not repeated once it may have arrived, but is when it never left.
func TestTokenIsNotMadeTwice(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, "127.0.0.1:1", ca.serve(t, f))
	u.want(u.run("token", "create", "bot", "--role", "viewer"), exitOK)
	if u.out.String() != "tdm_new\n" {
		t.Errorf("standard output is %q", u.out.String())
	}
	f.down = true
	u.want(u.run("token", "create", "bot"), exitUnreachable, "going down")
	if len(f.tokens) != 2 {
		t.Errorf("%d calls: %v", len(f.tokens), f.tokens)
	}
}

// TestLifeOfTokens: the life that is asked for, and what is said of a token that ends.
func TestLifeOfTokens(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	for args, want := range map[string]int64{"": 0, "--ttl 24h": 86400, "--no-expiry": -1, "--join --ttl 10m": 600, "--join": 0} {
		u.want(u.run(append([]string{"token", "create", "bot"}, strings.Fields(args)...)...), exitOK)
		if got := f.tokens[len(f.tokens)-1].GetTtlSeconds(); got != want {
			t.Errorf("%q asks for %d seconds, want %d", args, got, want)
		}
	}
	for _, args := range []string{"--no-expiry --ttl 24h", "--join --no-expiry"} {
		u.want(u.run(append([]string{"token", "create", "bot"}, strings.Fields(args)...)...), exitUsage, "--no-expiry is for tokens of clients")
	}
	// What is cut to seconds must not become 0 or -1, which are the default and no end at all.
	asked := len(f.tokens)
	for args, says := range map[string]string{
		"--ttl 400ms": "1s or more", "--ttl 1ns": "1s or more", "--ttl 0s": "1s or more", "--ttl -1s": "1s or more", "--ttl 1500ms": "whole seconds",
		"--join --ttl 400ms": "1s or more", "--uses -1": "--uses\" flag: must be a whole number, 0 or more",
		"--no-expiry --ttl 0s": "1s or more",
	} {
		u.want(u.run(append([]string{"token", "create", "bot"}, strings.Fields(args)...)...), exitUsage, says)
	}
	if len(f.tokens) != asked {
		t.Errorf("tokens were asked for: %v", f.tokens[asked:])
	}
}

// TestEndedToken: a token whose time is over is not taken for one of another cluster.
func TestEndedToken(t *testing.T) {
	ca := newAuthority(t)
	why := &tandemv1.Reason{Code: tandemv1.Reason_CODE_CLIENT_TOKEN_ENDED, Args: map[string]string{"token": "ann", "role": "user", "ended_at": "1767323045"}}
	f := &fake{get: func(string) (*tandemv1.GetJobResponse, error) {
		return nil, say.Error(connect.CodeUnauthenticated, why, errors.New(say.Clause(why, say.Plain)))
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("describe", "x"), exitDenied, "token ann ended at 2026-01-02 03:04 UTC: ask an admin for another one", "tandem token create --role user")
	if strings.Contains(u.err.String(), "refuses the token") {
		t.Errorf("%s", u.err.String())
	}
}

func TestSubmitUploadsTheModel(t *testing.T) {
	ca := newAuthority(t)
	var got *tandemv1.JobSpec
	f := &fake{submit: func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		got = r.GetSpec()
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-1"}}, nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	spec := write(t, u.dir, "job.yaml", "name: own\nmodel:\n  torchscript:\n    file: net.pt\n")
	u.want(u.run("submit", "-f", spec), exitUsage, "net.pt: no such file", "relative to the spec")
	big := strings.Repeat("x", 3*chunkBytes+17)
	write(t, u.dir, "net.pt", big)
	u.want(u.run("submit", "-f", spec), exitOK)
	hash := got.GetModel().GetTorchscript().GetArtifact()
	if string(f.files[hash]) != big || got.GetModel().GetTorchscript().GetFile() != "" {
		t.Errorf("uploaded %d bytes as %q, spec %v", len(f.files[hash]), hash, got)
	}
}

// TestSpecTakesFilesOfItsFolderOnly: a spec of somebody else cannot take a file of whoever submits it.
func TestSpecTakesFilesOfItsFolderOnly(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{submit: func(*tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-1"}}, nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	write(t, u.dir, "secret", "key")
	folder := filepath.Join(u.dir, "project")
	if err := os.MkdirAll(filepath.Join(folder, "models"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "models/net.pt", "net")
	for link, to := range map[string]string{"link.pt": "../secret", "absolute.pt": filepath.Join(u.dir, "secret"), "up": "..", "inside.pt": "models/net.pt"} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, fine := range map[string]bool{
		"../secret": false, filepath.Join(u.dir, "secret"): false, "/etc/shadow": false, "models/../../secret": false, "link.pt": false, "absolute.pt": false, "up/secret": false,
		"models": false, "models/net.pt": true, "models/../models/net.pt": true, "inside.pt": true, filepath.Join(folder, "models/net.pt"): true,
	} {
		clear(f.files)
		spec := write(t, folder, "job.yaml", "name: own\nmodel:\n  torchscript:\n    file: "+name+"\n")
		code := u.run("submit", "-f", spec)
		if fine != (code == exitOK) || fine != (len(f.files) == 1) {
			t.Errorf("%s: exit code %d, %d files uploaded: %s", name, code, len(f.files), u.err.String())
		}
	}
	for name, says := range map[string]string{
		"../secret": "../secret must lie in the folder of the spec", "link.pt": "link.pt must lie in the folder of the spec",
		filepath.Join(u.dir, "secret"): filepath.Join(u.dir, "secret") + " must lie in the folder of the spec", "none.pt": "none.pt: no such file or directory (the path is relative to the spec)",
	} {
		u.want(u.run("submit", "-f", write(t, folder, "job.yaml", "model: {torchscript: {file: "+name+"}}")), exitUsage, "model.torchscript.file: "+says)
		if strings.Contains(u.err.String(), "statat") || strings.Contains(u.err.String(), "parent") {
			t.Errorf("%s: %s", name, u.err.String())
		}
	}
}

func TestSpecErrorsNameTheirPlace(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	path := write(t, u.dir, "job.yaml", "name: x\ntrainnig: {}\n")
	u.want(u.run("submit", "-f", path), exitUsage, path+":2:1", `did you mean "training"?`)
}

// TestWaitSurvivesTheLossOfACoordinator: the stream breaks, the next coordinator goes on.
func TestWaitSurvivesTheLossOfACoordinator(t *testing.T) {
	ca := newAuthority(t)
	var calls atomic.Int32
	running := ended(tandemv1.JobState_JOB_STATE_RUNNING, "")
	running.Trials[0].Generation = 1
	running.Progress = []*tandemv1.Progress{{TrialId: "trial-1", Generation: 1, Step: 5, TotalSteps: 10, Loss: 0.5, SamplesPerSecond: 12345, EtaSeconds: 3}}
	f := &fake{watch: func(_ context.Context, id string, send func(*tandemv1.WatchJobResponse) error) error {
		if calls.Add(1) > 2 {
			if id != "job-1" {
				t.Errorf("asked for %q", id)
			}
			return send(ended(tandemv1.JobState_JOB_STATE_COMPLETED, ""))
		}
		if err := send(running); err != nil {
			return err
		}
		return connect.NewError(connect.CodeUnavailable, errors.New("going down"))
	}}
	u := newUser(t, ca.pem, ca.serve(t, f), "127.0.0.1:1")
	u.want(u.run("wait", "dig"), exitOK, "connection to the coordinator lost", "connected again", "step 5/10", "12,345 samples/s", "ETA 3.0s", "completed")
}

func TestInterruptDetaches(t *testing.T) {
	ca := newAuthority(t)
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{watch: func(ctx context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
		err := send(ended(tandemv1.JobState_JOB_STATE_RUNNING, ""))
		cancel()
		<-ctx.Done()
		return err
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.runContext(ctx, "wait", "job-1"), exitInterrupted, "Detached", "tandem wait job-1")
	if len(f.intents) > 0 {
		t.Error("the job was touched")
	}
}

func TestWaitTimeout(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{watch: func(ctx context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
		err := send(ended(tandemv1.JobState_JOB_STATE_RUNNING, ""))
		<-ctx.Done()
		return err
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("wait", "job-1", "--timeout", "100ms"), exitTimeout, "the job goes on")
}

// TestRevokedWhileFollowing: whoever follows is told that it is the token, of which context, and what to do.
func TestRevokedWhileFollowing(t *testing.T) {
	ca := newAuthority(t)
	gone := connect.NewError(connect.CodeUnauthenticated, errors.New("token ann was revoked: ask an admin for another one"))
	u := newUser(t, ca.pem, ca.serve(t, &fake{
		logs: func(send func(*tandemv1.StreamLogsResponse) error) error {
			return errors.Join(send(&tandemv1.StreamLogsResponse{Line: "one", TrialId: "t"}), gone)
		},
		watch: func(_ context.Context, id string, send func(*tandemv1.WatchJobResponse) error) error {
			return errors.Join(send(&tandemv1.WatchJobResponse{Job: &tandemv1.Job{Id: id}}), gone)
		},
	}))
	for _, args := range [][]string{{"logs", "-f", "job-1"}, {"wait", "job-1"}} {
		u.want(u.run(args...), exitDenied, `the cluster refuses the token of context "test": token ann was revoked: ask an admin for another one`)
	}
}

func TestLogsShowNoLineTwice(t *testing.T) {
	ca := newAuthority(t)
	var calls atomic.Int32
	f := &fake{logs: func(send func(*tandemv1.StreamLogsResponse) error) error {
		n := calls.Add(1)
		gone := &tandemv1.StreamLogsResponse{DeletedAt: timestamppb.New(time.Date(2026, 12, 31, 1, 0, 0, 0, time.UTC)), KeptFor: durationpb.New(30*24*time.Hour + time.Hour)}
		if err := send(gone); err != nil {
			return err
		}
		for i, line := range []string{"one", "two", `{"level":"warn","gen":2,"step":3,"err":"no \"luck\"","message":"three"}`} {
			if n == 1 && i == 2 {
				return connect.NewError(connect.CodeUnavailable, errors.New("going down"))
			}
			if err := send(&tandemv1.StreamLogsResponse{Line: line, TrialId: "t", NodeId: "node-1", Rank: 1, Generation: 2}); err != nil {
				return err
			}
		}
		return nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("logs", "-f", "job-1"), exitOK)
	if got := u.err.String(); strings.Count(got, "The logs of this job were deleted on 2026-12-31, 30 days after its end.") != 1 {
		t.Errorf("it does not say once that lines are missing:\n%s", got)
	}
	if got := u.out.String(); strings.Count(got, "\n") != 3 {
		t.Errorf("not three lines:\n%s", got)
	}
	for line, want := range map[int]string{0: " node-1 r1.2       one", 1: " node-1 r1.2       two", 2: ` node-1 r1.2 warn  three err="no \"luck\"" step=3`} {
		if got := strings.Split(u.out.String(), "\n")[line]; !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q at the end", got, want)
		}
	}
	u.want(u.run("logs", "job-1", "-o", "json"), exitOK, `"rank": 1`, `\"message\":\"three\"`)
}

func TestListForms(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{jobs: []*tandemv1.Job{{Id: "job-1", Name: "digits", State: tandemv1.JobState_JOB_STATE_PENDING, Reason: "waits for 2 slots", SubmittedBy: "admin"}}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("list"), exitOK, "job-1", "pending", "waits for 2 slots")
	if strings.Contains(u.out.String(), "admin") {
		t.Error("the narrow table has columns of the wide one")
	}
	u.want(u.run("list", "-o", "wide"), exitOK, "admin")
	u.want(u.run("list", "-o", "yaml"), exitOK, "submitted_by: admin")
	u.want(u.run("list", "-o", "json"), exitOK, `"state": "pending"`, `"published_version": ""`)
	f.jobs = nil
	u.want(u.run("list"), exitOK, "No jobs")
	u.want(u.run("list", "--state", "paused"), exitOK, "No job is paused.")
	u.want(u.run("list", "--state", "PENDING,running"), exitOK, "No job is pending or running.")
	u.want(u.run("list", "-o", "json"), exitOK, `"jobs": []`)
}

func TestCancelAsks(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{get: func(id string) (*tandemv1.GetJobResponse, error) {
		if !strings.HasPrefix("job-1", id) {
			return nil, connect.NewError(connect.CodeNotFound, errors.New("job not found"))
		}
		return &tandemv1.GetJobResponse{Job: &tandemv1.Job{Id: "job-1", Name: "digits", State: tandemv1.JobState_JOB_STATE_RUNNING}}, nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("cancel", "nope"), exitNotFound, "job not found")
	u.want(u.run("cancel", "job-1", "nope", "-y"), exitNotFound, "job not found")
	u.want(u.run("cancel", "job"), exitUsage, "Cancel job-1 (digits, running)?", "add -y")
	if len(f.intents) > 0 {
		t.Fatal("it was cancelled without an answer")
	}
	u.want(u.run("cancel", "job-1", "-y"), exitOK)
	if len(f.intents) != 1 || f.intents[0].GetIntent() != tandemv1.JobIntent_JOB_INTENT_CANCEL || f.intents[0].GetRequestId() == "" {
		t.Errorf("%v", f.intents)
	}
}

func TestScaleAndDrain(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("scale", "job-1"), exitUsage, "workers")
	u.want(u.run("scale", "job-1", "--workers", "0"), exitUsage, "1 or more")
	u.want(u.run("scale", "job-1", "--workers", "5"), exitUsage, "may have 1 to 4 workers")
	u.want(u.run("scale", "job-1", "--workers", "4"), exitOK, "job-1 (digits) should have 4 workers")
	u.want(u.run("node", "cordon", "node-a"), exitOK, "is alive, cordoned")
	u.want(u.run("node", "drain", "node-a"), exitOK, "is alive, draining")
	u.want(u.run("node", "uncordon", "node-a"), exitOK, "is alive")
	u.want(u.run("node", "drain", "node-a", "--deadline", "-1m"), exitUsage, "deadline")
	u.want(u.run("node", "drain", "node-a", "--deadline", "30m", "--reason", "new disk"), exitOK, "is alive, draining")
	if c := f.cordons[3]; c.GetDeadline().AsDuration() != 30*time.Minute || c.GetReason() != "new disk" {
		t.Errorf("%v", c)
	}
	u.want(u.run("node", "label", "node-a"), exitUsage, "name a node and its labels")
	u.want(u.run("node", "label", "node-a", "gpu"), exitUsage, "write labels as KEY=VALUE")
	for i, want := range [][2]bool{{true, false}, {true, true}, {false, false}} {
		if c := f.cordons[i]; [2]bool{c.GetCordoned(), c.GetDrain()} != want || c.GetRequestId() == "" {
			t.Errorf("request %d is %v", i, c)
		}
	}
}

// TestIntentThatIsThereAlready: nothing is sent, and what is, is said.
func TestIntentThatIsThereAlready(t *testing.T) {
	ca := newAuthority(t)
	job := &tandemv1.Job{Id: "job-1"}
	f := &fake{get: func(string) (*tandemv1.GetJobResponse, error) { return &tandemv1.GetJobResponse{Job: job}, nil }}
	u := newUser(t, ca.pem, ca.serve(t, f))
	run, pause, cancel := tandemv1.JobIntent_JOB_INTENT_RUN, tandemv1.JobIntent_JOB_INTENT_PAUSE, tandemv1.JobIntent_JOB_INTENT_CANCEL
	for _, tc := range []struct {
		verb   string
		state  tandemv1.JobState
		intent tandemv1.JobIntent
		want   string // empty: the cluster is asked
	}{
		{"resume", tandemv1.JobState_JOB_STATE_RUNNING, run, "is running already; nothing was changed"},
		{"resume", tandemv1.JobState_JOB_STATE_PENDING, run, "is pending already"},
		{"pause", tandemv1.JobState_JOB_STATE_PAUSED, pause, "is paused already"},
		{"pause", tandemv1.JobState_JOB_STATE_RUNNING, pause, "is running and about to pause already"},
		{"cancel", tandemv1.JobState_JOB_STATE_CANCELLED, cancel, "is cancelled already"},
		{"resume", tandemv1.JobState_JOB_STATE_RUNNING, pause, ""},
		{"resume", tandemv1.JobState_JOB_STATE_PAUSED, pause, ""},
		{"pause", tandemv1.JobState_JOB_STATE_RUNNING, run, ""},
		{"pause", tandemv1.JobState_JOB_STATE_COMPLETED, run, ""}, // it says that it has ended
		{"resume", tandemv1.JobState_JOB_STATE_FAILED, run, ""},
		{"cancel", tandemv1.JobState_JOB_STATE_FAILED, run, ""},
	} {
		job.State, job.Intent, f.intents = tc.state, tc.intent, nil
		u.want(u.run(tc.verb, "job"), exitOK, "job-1", tc.want)
		if asked := len(f.intents) == 1; asked != (tc.want == "") {
			t.Errorf("%s of a job that is %s: the cluster was asked: %v", tc.verb, tc.state, asked)
		}
	}
	job.State, job.Intent = tandemv1.JobState_JOB_STATE_RUNNING, run
	u.want(u.run("resume", "job-1", "-o", "json"), exitOK, `"id": "job-1"`)
}

// TestDescribeSaysWhatWasTrained: how a job trains, what it reached, and where its aliases stayed; for programs too.
func TestDescribeSaysWhatWasTrained(t *testing.T) {
	ca := newAuthority(t)
	weightDecay := 0.01
	job := &tandemv1.Job{Id: "job-1", Name: "digits", State: tandemv1.JobState_JOB_STATE_COMPLETED, PublishedVersion: "digits@3",
		AliasesKept: []*tandemv1.AliasKept{{Alias: "champion", Version: 2, Reason: "Alias champion stays at digits@2."}},
		Spec: &tandemv1.JobSpec{
			Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Resnet{Resnet: &tandemv1.ResnetSpec{Depth: 18, Norm: "group"}}},
			Training: &tandemv1.TrainingSpec{
				Batch: 64, Epochs: 20, Loss: "cross_entropy", ClipNorm: 1,
				Optimizer: &tandemv1.OptimizerSpec{Name: "adamw", Lr: 0.001, WeightDecay: &weightDecay},
				Schedule:  &tandemv1.ScheduleSpec{Name: "cosine", WarmupSteps: 20},
			},
			Metric: "accuracy", Mode: "max", TieBreaker: "loss",
		}}
	at := func(step int64, accuracy, loss float64) *tandemv1.Evaluation {
		return &tandemv1.Evaluation{Step: step, Metrics: map[string]float64{"accuracy": accuracy, "loss": loss}}
	}
	trial := &tandemv1.Trial{Id: "trial-1", Evaluations: []*tandemv1.Evaluation{at(10, 0.5, 1), at(20, 1, 0.3), at(30, 1, 0.2), at(40, 0.9, 0.1)}}
	f := &fake{get: func(string) (*tandemv1.GetJobResponse, error) {
		return &tandemv1.GetJobResponse{Job: job, Trials: []*tandemv1.Trial{trial}, Best: trial.GetEvaluations()[2]}, nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("describe", "digits"), exitOK, "resnet, depth 18, norm group", "20 epochs", "adamw, lr 0.001, weight decay 0.01", "cosine, 20 steps of warm-up",
		"cross_entropy", "accuracy, higher is better, of equals the lower loss", "validation accuracy 1 at step 30", "Alias champion stays at digits@2.")
	u.want(u.run("describe", "digits", "-o", "json"), exitOK, `"best": {`, `"step": 30`)
}

func TestDatasetCreate(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	var csv strings.Builder
	csv.WriteString("a,b,label\n")
	for i := range 40 {
		csv.WriteString([]string{"1,2,x\n", "3,4.5,y\n"}[i%2])
	}
	u.want(u.run("dataset", "create", "small", "--from", write(t, u.dir, "d.csv", csv.String()+"1,2\n"), "--label", "label"), exitUsage, "line 42", "--max-bad-rows 1")
	if len(f.files) > 0 {
		t.Fatal("something was sent")
	}
	u.want(u.run("dataset", "create", "small", "--from", filepath.Join(u.dir, "d.csv"), "--label", "label", "--max-bad-rows", "1"), exitOK,
		"small@1 was created", "left out: line 42", "train")
	if strings.Contains(u.err.String(), "No rows are for validation") {
		t.Error("warned of a validation split that is there")
	}
	b := f.files[dataset.ManifestName]
	m, err := dataset.ParseManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.files) != 1+len(m.Shards()) || f.created.GetId() != "data-1" || f.created.GetRequestId() == "" {
		t.Errorf("%d files, %v", len(f.files), f.created)
	}
}

// TestDatasetCreateSaysSoBefore: a name that cannot be is refused before the file is read; what no job can train on is told.
func TestDatasetCreateSaysSoBefore(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{}))
	file := write(t, u.dir, "d.csv", "a;label\n"+strings.Repeat("1;x\n2;Y\n", 20))
	create := func(name string, more ...string) int {
		return u.run(append([]string{"dataset", "create", name, "--from", file, "--label", "label"}, more...)...)
	}
	u.want(create("BAD"), exitUsage, "name: small letters")
	if strings.Contains(u.err.String(), "label column") {
		t.Error("the file was read")
	}
	u.want(create("small"), exitUsage, "pass --comma ';'")
	u.want(create("small", "--comma", ";", "--split", "1/0/0"), exitOK, "No rows are for validation", "--split 80/10/10", "  x", "  Y")
	u.want(create("small", "--comma", ";", "--split", "80"), exitUsage, "80/20 without a test split")
	u.want(create("small", "--comma", ";", "--split", "80/20"), exitOK, "small@1 was created")
	write(t, u.dir, "d.csv", "\xff\xfea\x00")
	u.want(create("small"), exitUsage, "UTF-16")
}

// TestDatasetCreateSaysWhatIsSeldomMeant: constant columns, ids, scales far apart, and classes that a split has no row of.
func TestDatasetCreateSaysWhatIsSeldomMeant(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{}))
	var csv strings.Builder
	csv.WriteString("id,same,small,large,label\n")
	for i := range 60 {
		fmt.Fprintf(&csv, "%d,3,0.%d,%d,%s\n", 100+i, i*7%10, 5000*(i*3%10), map[bool]string{true: "rare", false: "usual"}[i%20 == 3])
	}
	file := write(t, u.dir, "d.csv", csv.String())
	u.want(u.run("dataset", "create", "odd", "--from", file, "--label", "label", "--split", "90/5/5"), exitOK,
		"column same: all values are the same", "column id: each row has a larger (or smaller) value",
		"columns small and large differ in scale", "--normalize standard", "class rare: no row in the validation split, so")
	for _, line := range strings.Split(u.err.String(), "\n") {
		if strings.Contains(line, "usual: no row") || strings.Contains(line, "large: ") {
			t.Errorf("%s", line)
		}
	}
	u.want(u.run("dataset", "create", "odd", "--from", file, "--label", "label", "--split", "40/30/30", "--drop", "id,same", "--normalize", "standard"), exitOK, "odd@1 was created")
	if said := u.err.String(); strings.Contains(said, "column") || strings.Contains(said, "no row in") {
		t.Errorf("nothing is left to be said: %s", said)
	}
	u.want(u.run("dataset", "create", "odd", "--from", file, "--from", file, "--label", "label"), exitUsage, "--from", "given twice")
}

func TestDatasetCreateFromText(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	file := write(t, u.dir, "novel.txt", strings.Repeat("It was a bright cold day. ", 40))
	create := func(more ...string) int {
		return u.run(append([]string{"dataset", "create", "novel", "--from", file}, more...)...)
	}
	u.want(create("--text"), exitUsage, "--context 128")
	u.want(create("--text", "--context", "16", "--label", "x"), exitUsage, "--label goes with a CSV file")
	u.want(create("--context", "16", "--label", "x"), exitUsage, "--context goes with --text")
	u.want(create("--text", "--context", "512"), exitUsage, "validation split", "smaller --context")
	if len(f.files) > 0 {
		t.Fatal("something was sent")
	}
	u.want(create("--text", "--context", "16", "--split", "90/10"), exitOK, "novel@1 was created", "1,040 bytes: 64 windows of 16", "validation")
	m, err := dataset.ParseManifest(f.files[dataset.ManifestName])
	if err != nil || m.Task != dataset.TaskLanguage {
		t.Errorf("task %q, %v", m.Task, err)
	}
}

// TestUploadCountsOnce: bytes that go again, because a coordinator was lost, are not counted twice.
func TestUploadCountsOnce(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{lose: 2}
	u := newUser(t, ca.pem, ca.serve(t, f))
	a := &app{out: &u.out, err: &u.err, patience: u.patience, getenv: func(k string) string { return u.env[k] }}
	c, err := a.client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bar := a.transferBar("Uploading", 2000)
	for _, name := range []string{"one", "two"} {
		if _, err := a.uploadPath(t.Context(), c, write(t, u.dir, name, strings.Repeat("x", 1000)), upload{name: name, progress: bar}); err != nil {
			t.Fatal(err)
		}
	}
	if bar.done != 2000 || f.lose > 0 || len(f.files["two"]) != 1000 {
		t.Errorf("%d bytes counted, want 2000; %d losses left", bar.done, f.lose)
	}
}

func TestVerifyNamesTheCheckpoint(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{}))
	u.want(u.run("checkpoint", "verify", "ckpt-12"), exitOK, "ckpt-1234 is whole")
}

// TestReplay: a checkpoint is read first, then the job does steps again; only one that completes is a success.
func TestReplay(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	var spec *tandemv1.JobSpec
	f.submit = func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		spec = r.GetSpec()
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-9"}}, nil
	}
	end := func(state tandemv1.JobState, reason string) {
		f.watch = func(_ context.Context, id string, send func(*tandemv1.WatchJobResponse) error) error {
			return send(&tandemv1.WatchJobResponse{Job: &tandemv1.Job{Id: id, State: state, Reason: reason}})
		}
	}
	end(tandemv1.JobState_JOB_STATE_COMPLETED, "20 steps from step 40 gave the same bits as then.")
	u.want(u.run("checkpoint", "verify", "ckpt-12", "--replay", "20"), exitOK, "ckpt-1234 is whole. 20 steps from step 40 gave the same bits as then.")
	if r := spec.GetReplay(); spec.GetKind() != "replay" || spec.GetName() != "replay-ckpt-1234" || r.GetCheckpointId() != "ckpt-1234" || r.GetSteps() != 20 {
		t.Errorf("submitted %v", spec)
	}
	u.want(u.run("checkpoint", "verify", "ckpt-12", "--replay", "20", "-o", "json"), exitOK, `"reason": "20 steps from step 40 gave the same bits as then."`)
	end(tandemv1.JobState_JOB_STATE_FAILED, "Step 41 differs from what the training did then.")
	u.want(u.run("checkpoint", "verify", "ckpt-12", "--replay", "20"), exitError, "ckpt-1234 is whole. Step 41 differs")
	u.want(u.run("checkpoint", "verify", "ckpt-12", "--replay", "20", "-o", "json"), exitError, `"state": "failed"`, "Step 41 differs")
	end(tandemv1.JobState_JOB_STATE_CANCELLED, "Cancelled by ann.")
	u.want(u.run("checkpoint", "verify", "ckpt-12", "--replay", "1"), exitError, "Cancelled by ann.")
	spec = nil
	u.want(u.run("checkpoint", "verify", "ckpt-12", "--replay", "0"), exitUsage, "--replay\" flag: must be a whole number from 1 to 10000")
	if spec != nil {
		t.Error("a wrong command line submitted a job")
	}
}

func TestWeightsOnly(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	f.files = map[string][]byte{"weights.safetensors": []byte("W"), "shard": []byte("S")}
	to := filepath.Join(u.dir, "w")
	u.want(u.run("checkpoint", "download", "ckpt-12", "--weights-only", "--to", to), exitOK, "1 B", filepath.Join(to, "weights.safetensors"))
	if b, err := os.ReadFile(filepath.Join(to, "weights.safetensors")); string(b) != "W" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if entries, err := os.ReadDir(to); len(entries) != 1 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestPruneAsksUnlessItIsDry(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("checkpoint", "prune", "job-1", "--dry-run"), exitOK, "ckpt-2", "keep", "the newest", "ckpt-1", "delete", "neither job-1")
	if f.pruned != 0 {
		t.Error("the dry run deleted")
	}
	u.want(u.run("checkpoint", "prune", "-y"), exitOK, "ckpt-1", "delete")
	if f.pruned != 1 {
		t.Errorf("pruned %d times", f.pruned)
	}
}

func TestModelDownload(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{version: &tandemv1.Version{Id: "ver-c", Model: "digits", Number: 3, ManifestSha256: sum("third")}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	f.files = map[string][]byte{"model.pt": []byte("PK"), "manifest.json": []byte("third")}
	to := filepath.Join(u.dir, "here")
	u.want(u.run("model", "download", "digits@3", "--to", to), exitOK, "3 files", "model.pt takes normalised rows", "manifest.json")
	if strings.Contains(u.err.String(), "This is") {
		t.Errorf("a version that was named is named: %s", u.err.String())
	}
	got := tree(t, to)
	var record struct {
		ID, Model string
		Number    int
	}
	if err := json.Unmarshal([]byte(got["/version.json"]), &record); err != nil || record.ID != "ver-c" || record.Model != "digits" || record.Number != 3 || got["/model.pt"] != "PK" || got["/manifest.json"] != "third" {
		t.Errorf("%v, %v", got, err)
	}
	// The same once more replaces what is damaged; another one is asked about, and nobody answers here.
	write(t, to, "model.pt", "damaged")
	u.want(u.run("model", "download", "digits@3", "--to", to), exitOK, "3 files")
	if got := tree(t, to); got["/model.pt"] != "PK" {
		t.Error(got)
	}
	f.version, f.files["manifest.json"], f.files["model.pt"] = &tandemv1.Version{Model: "digits", Number: 2, ManifestSha256: sum("second")}, []byte("second"), []byte("two")
	f.target = "champion"
	u.want(u.run("model", "download", "digits", "--to", to), exitUsage, "This is digits@2, the alias champion", "manifest.json is not of digits@2: replace the files in "+to, "add -y")
	if got := tree(t, to); got["/model.pt"] != "PK" || got["/manifest.json"] != "third" {
		t.Errorf("replaced without asking: %v", got)
	}
	f.target = "2"
	u.want(u.run("model", "download", "digits", "--to", to, "-y"), exitOK, "This is digits@2, the newest version", "3 files")
	if got := tree(t, to); got["/model.pt"] != "two" || !strings.Contains(got["/version.json"], `"number": 2`) {
		t.Errorf("not replaced: %v", got)
	}
	// A folder with other files only is used as it is.
	other := filepath.Join(u.dir, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, other, "notes.txt", "mine")
	u.want(u.run("model", "download", "digits", "--to", other), exitOK, "3 files")
	if got := tree(t, other); got["/notes.txt"] != "mine" || got["/model.pt"] != "two" {
		t.Error(got)
	}
	u.want(u.run("model", "alias", "--help"), exitOK, "MODEL ALIAS --remove")
}

func TestPredict(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{rest: func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/models/digits":
			_, _ = io.WriteString(w, `{"name":"digits","inputs":[{"name":"input","datatype":"FP32","shape":[-1,1,2]}]}`)
		case "/v2/models/digits/infer":
			var req struct{ Inputs []tensor }
			if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]tensor{{Name: "input", Datatype: "FP32", Shape: []int64{1, 1, 2}, Data: json.RawMessage("[3,4.5]")}}, req.Inputs); diff != "" {
				t.Error(diff)
			}
			_, _ = io.WriteString(w, `{"outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[7]},{"name":"probabilities","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":"no such model"}`)
		}
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	csv := write(t, u.dir, "d.csv", "a,b\n1,2\n3,4.5\n")
	u.want(u.run("predict", "digits", "--input", csv, "--row", "2"), exitOK, "7", "0.7500", "curl --cacert", "test.ca.pem", `$(cat `)
	u.in = "[3, 4.5]"
	u.want(u.run("predict", "digits", "--input", "-"), exitOK, "7")
	u.in = "[3]"
	u.want(u.run("predict", "digits", "--input", "-"), exitUsage, "row 1 has 1 values, the model takes 2")
	u.want(u.run("predict", "digits", "--input", csv, "--row", "9"), exitUsage, "no row 9")
	for _, row := range []string{"0", "-1"} {
		u.want(u.run("predict", "digits", "--input", csv, "--row", row), exitUsage, "--row\" flag: must be a whole number, 1 or more")
	}
	u.want(u.run("predict", "digits", "--input", csv, "--comma", "ab"), exitUsage, "one character")
	u.in = "\uFEFF[3, 4.5]\n"
	u.want(u.run("predict", "digits", "--input", "-"), exitOK, "7")
	u.in = "[3, null]"
	u.want(u.run("predict", "digits", "--input", "-"), exitUsage, "row 1, value 2: null is not a number")
	u.want(u.run("predict", "digits", "--input", write(t, u.dir, "semi.csv", "3;4,5\n"), "--no-header", "--comma", ";"), exitUsage, "row 1 (line 1), column c1")
	u.want(u.run("predict", "digits", "--input", write(t, u.dir, "semi.csv", "3;4.5\n"), "--no-header", "--comma", ";"), exitOK, "7")
	u.want(u.run("predict", "other", "--input", csv), exitNotFound, "no such model")
}

func TestAPI(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{
		jobs: []*tandemv1.Job{{Id: "job-1"}},
		rest: func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]string{"method": r.Method, "path": r.URL.Path})
		},
		watch: func(_ context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
			return errors.Join(send(ended(tandemv1.JobState_JOB_STATE_RUNNING, "")), send(ended(tandemv1.JobState_JOB_STATE_FAILED, "")))
		},
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("api", "/v1/jobs"), exitOK, `"method": "GET"`, `"path": "/v1/jobs"`)
	u.want(u.run("api", "delete", "/v1/tokens/x"), exitOK, `"method": "DELETE"`)
	u.want(u.run("api", "/v1/jobs", "-d", "{}"), exitOK, `"method": "POST"`)
	u.want(u.run("api", "JobService/ListJobs"), exitOK, `"id": "job-1"`)
	u.want(u.run("api", "JobService/WatchJob", "-d", `{"id": "job-1"}`), exitOK, `"state": "running"`, `"state": "failed"`)
	u.want(u.run("api", "JobService/Nonsense"), exitUsage, "no method")
	u.want(u.run("api", "/v1/jobs", "-d", "{"), exitUsage, "not valid JSON")
	u.want(u.run("api"), exitOK, "GET /v1/jobs/{id}")
}
