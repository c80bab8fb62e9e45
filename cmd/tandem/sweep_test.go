package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"tandem.dev/cmd/tandem/spec"
	"tandem.dev/coordinator/analysis"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

var update = flag.Bool("update", false, "accept what is shown")

// fakeSweep is the sweep that a fake coordinator has.
type fakeSweep struct {
	sweep    *tandemv1.GetSweepResponse
	trials   []*tandemv1.Trial
	pages    []int32
	extended []*tandemv1.ExtendSweepRequest
	points   int32 // of its grid; 0: it has none
	stopped  []*tandemv1.StopSweepTrialRequest
}

func (f *fake) found(id string) error {
	if f.sweep == nil || id != f.sweep.GetJob().GetId() && id != f.sweep.GetJob().GetName() {
		return connect.NewError(connect.CodeNotFound, errors.New("no such sweep"))
	}
	return nil
}

func (f *fake) GetSweep(_ context.Context, r *connect.Request[tandemv1.GetSweepRequest]) (*connect.Response[tandemv1.GetSweepResponse], error) {
	if err := f.found(r.Msg.GetId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(f.sweep), nil
}

func (f *fake) ListTrials(_ context.Context, r *connect.Request[tandemv1.ListTrialsRequest]) (*connect.Response[tandemv1.ListTrialsResponse], error) {
	from, _ := strconv.Atoi(r.Msg.GetPageToken())
	f.pages = append(f.pages, int32(from))
	res := &tandemv1.ListTrialsResponse{Trials: f.trials[from:]}
	if most := min(int(r.Msg.GetLimit()), 500); len(res.GetTrials()) > most { // an answer may be shorter than what was asked for
		res.Trials, res.NextPageToken = res.GetTrials()[:most], strconv.Itoa(from+most)
	}
	return connect.NewResponse(res), f.found(r.Msg.GetId())
}

// These answer as the coordinator does.
func (f *fake) ReplaySweep(_ context.Context, r *connect.Request[tandemv1.ReplaySweepRequest]) (*connect.Response[tandemv1.ReplaySweepResponse], error) {
	res, err := analysis.Replay(f.sweep.GetJob(), f.trials, r.Msg.GetMethods(), int(r.Msg.GetSlots()))
	return answered(res, err)
}

func (f *fake) GetImportance(context.Context, *connect.Request[tandemv1.GetImportanceRequest]) (*connect.Response[tandemv1.GetImportanceResponse], error) {
	res, err := analysis.Importance(f.sweep.GetJob(), f.trials)
	return answered(res, err)
}

func (f *fake) GetCurves(_ context.Context, r *connect.Request[tandemv1.GetCurvesRequest]) (*connect.Response[tandemv1.GetCurvesResponse], error) {
	return connect.NewResponse(analysis.Curves(f.sweep.GetJob(), f.trials, int(r.Msg.GetBest()))), nil
}

func answered[T any](res *T, err error) (*connect.Response[T], error) {
	switch {
	case errors.Is(err, analysis.ErrUnanswerable):
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return connect.NewResponse(res), nil
}

func (f *fake) ExtendSweep(_ context.Context, r *connect.Request[tandemv1.ExtendSweepRequest]) (*connect.Response[tandemv1.ExtendSweepResponse], error) {
	f.extended = append(f.extended, r.Msg)
	s := proto.CloneOf(f.sweep.GetSweep())
	s.MaxTrials = r.Msg.GetMaxTrials()
	if f.points > 0 {
		s.MaxTrials = min(s.MaxTrials, f.points)
	}
	return connect.NewResponse(&tandemv1.ExtendSweepResponse{Sweep: s}), nil
}

func (f *fake) StopSweepTrial(_ context.Context, r *connect.Request[tandemv1.StopSweepTrialRequest]) (*connect.Response[tandemv1.StopSweepTrialResponse], error) {
	f.stopped = append(f.stopped, r.Msg)
	return connect.NewResponse(&tandemv1.StopSweepTrialResponse{Trial: &tandemv1.Trial{Number: r.Msg.GetTrial(), State: tandemv1.TrialState_TRIAL_STATE_STOPPED}}), nil
}

const sweepSpec = `
name: digits-asha
kind: sweep
dataset: digits@1
model: {mlp: {hidden: [64]}}
training: {batch: 64, epochs: 20}
metric: accuracy
mode: max
publish: {model: digits}
search:
  space:
    training.optimizer.lr: {log: [1e-4, 1e-1]}
    training.optimizer.name: {choice: [sgd, adamw]}
    training.optimizer.momentum: {double: [0, 0.9], when: {training.optimizer.name: sgd}}
    model.mlp.hidden: {choice: [[32], [64, 64]]}
  method: {name: asha, sampler: random, divisor: 4, rungs: 3}
  max_trials: 16
  max_concurrent_trials: 4
  gpu_hours: 2
`

// aSweep has 14 trials of 16: nine stopped at their first rung, two completed, one failed, one running, one paused.
func aSweep(t *testing.T) fakeSweep {
	t.Helper()
	s, err := spec.Parse("sweep.yaml", []byte(sweepSpec), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := fakeSweep{sweep: &tandemv1.GetSweepResponse{
		Job: &tandemv1.Job{Id: "job-1", Name: "digits-asha", Kind: tandemv1.JobKind_JOB_KIND_SWEEP, Spec: s, State: tandemv1.JobState_JOB_STATE_RUNNING, Reason: "Searches.", SubmittedBy: "ann"},
		Sweep: &tandemv1.Sweep{
			Id: "job-1", MaxTrials: 16, Made: 14, BestTrialId: "trial-07", BestValue: proto.Float64(0.97), SlotSeconds: 1800,
			Trials: map[string]int32{"running": 1, "paused": 1, "completed": 2, "failed": 1, "stopped": 9},
		},
	}}
	for n := int32(1); n <= 14; n++ {
		own := proto.CloneOf(s)
		own.Kind, own.Search, own.Publish = "train", nil, nil
		own.Training.Seed = 1000 + int64(n)
		point := map[string]any{
			"training.optimizer.lr": 1e-4 * float64(int(1)<<(n%9)), "training.optimizer.name": "adamw", "model.mlp.hidden": []any{float64(32)},
		}
		own.Training.Optimizer = &tandemv1.OptimizerSpec{Name: "adamw", Lr: point["training.optimizer.lr"].(float64)}
		if n%3 == 0 {
			point["training.optimizer.name"], point["training.optimizer.momentum"] = "sgd", 0.05*float64(n)
		}
		if n%2 == 1 {
			point["model.mlp.hidden"] = []any{float64(64), float64(64)}
		}
		parameters, err := structpb.NewStruct(point)
		if err != nil {
			t.Fatal(err)
		}
		trial := &tandemv1.Trial{
			Id: fmt.Sprintf("trial-%02d", n), JobId: "job-1", Number: n, State: tandemv1.TrialState_TRIAL_STATE_STOPPED, Parameters: parameters, TotalSteps: 400, KnownStep: 100,
			Spec: own, Until: 0.25, Reason: "Not among the best of its rung.",
		}
		ends := int64(1)
		switch n {
		case 7, 3:
			ends, trial.State, trial.Reason, trial.Until, trial.KnownStep = 4, tandemv1.TrialState_TRIAL_STATE_COMPLETED, "", 1, 400
		case 5:
			ends, trial.State, trial.Reason, trial.KnownStep = 0, tandemv1.TrialState_TRIAL_STATE_FAILED, "An engine was killed.\n\tRestarts: 3", 12
		case 13:
			trial.State, trial.Reason = tandemv1.TrialState_TRIAL_STATE_PAUSED, "Waits for the search at step 100."
		case 14:
			ends, trial.State, trial.Reason, trial.KnownStep = 0, tandemv1.TrialState_TRIAL_STATE_RUNNING, "", 0
		}
		for k := int64(1); k <= ends; k++ {
			value := 0.97 - 0.002*float64((n-7)*(n-7)) - 0.05*float64(4-k)
			if n == 7 && k == 4 {
				value = 0.96 // its best was before
			}
			if n == 7 && k == 3 {
				value = 0.97
			}
			trial.Evaluations = append(trial.Evaluations, &tandemv1.Evaluation{Step: 100 * k, Metrics: map[string]float64{"accuracy": value, "loss": 1 - value}})
		}
		f.trials = append(f.trials, trial)
	}
	f.sweep.Best = f.trials[6]
	f.sweep.Progress = []*tandemv1.Progress{{TrialId: "trial-14", Step: 30, TotalSteps: 400, Loss: 0.5, SamplesPerSecond: 12345, Phase: "training"}}
	return f
}

func sweepUser(t *testing.T, s fakeSweep) (*user, *fake) {
	t.Helper()
	ca := newAuthority(t)
	f := &fake{fakeSweep: s}
	return newUser(t, ca.pem, ca.serve(t, f)), f
}

// golden compares what was written with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs, accept it with -update (-want +got):\n%s", path, diff)
	}
}

func TestSweepTables(t *testing.T) {
	u, _ := sweepUser(t, aSweep(t))
	for name, args := range map[string][]string{
		"sweep_status":        {"status", "job-1"},
		"sweep_status_csv":    {"status", "digits-asha", "-o", "csv"},
		"sweep_best":          {"best", "job-1"},
		"sweep_best_yaml":     {"best", "job-1", "-o", "yaml"},
		"sweep_trials":        {"trials", "job-1"},
		"sweep_trials_wide":   {"trials", "job-1", "-o", "wide", "--sort", "value", "--limit", "3"},
		"sweep_trials_csv":    {"trials", "job-1", "-o", "csv", "--state", "completed,FAILED"},
		"sweep_plot":          {"plot", "job-1", "--best", "3"},
		"sweep_plot_csv":      {"plot", "job-1", "-o", "csv"},
		"sweep_importance":    {"importance", "job-1"},
		"sweep_replay":        {"replay", "job-1", "--method", "asha", "--divisor", "2", "--method", "asha,divisor=4,rungs=2", "--method", "hyperband"},
		"sweep_replay_csv":    {"replay", "job-1", "--method", "random,stop=median,startup-trials=3", "-o", "csv"},
		"sweep_replay_json":   {"replay", "job-1", "--method", "asha", "--slots", "2", "-o", "json"},
		"sweep_importance_ya": {"importance", "job-1", "-o", "yaml"},
	} {
		u.want(u.run(append([]string{"sweep"}, args...)...), exitOK)
		golden(t, name, u.out.String()+u.err.String())
	}
}

func TestSweepForPrograms(t *testing.T) {
	s := aSweep(t)
	u, _ := sweepUser(t, s)
	for _, args := range [][]string{{"status"}, {"trials"}, {"best"}, {"plot"}, {"importance"}, {"replay", "--method", "asha"}} {
		u.want(u.run(append([]string{"sweep", args[0], "job-1", "-o", "json"}, args[1:]...)...), exitOK)
		if !json.Valid([]byte(u.out.String())) {
			t.Errorf("%v: not valid JSON: %s", args, u.out.String())
		}
	}
	u.want(u.run("sweep", "trials", "job-1", "-o", "csv"), exitOK)
	rows, err := csv.NewReader(strings.NewReader(u.out.String())).ReadAll()
	if err != nil || len(rows) != 15 || strings.Join(rows[0][9:13], " ") != "model.mlp.hidden training.optimizer.lr training.optimizer.momentum training.optimizer.name" {
		t.Fatalf("%v, %d rows, head %v", err, len(rows), rows[0])
	}
	if rows[7][6] != "0.97" || rows[7][8] != "0.96" || rows[7][11] != "" || rows[7][9] != "[64, 64]" {
		t.Errorf("row of trial 7: %v", rows[7])
	}
}

func TestBestIsASpecToSubmit(t *testing.T) {
	s := aSweep(t)
	u, f := sweepUser(t, s)
	var got *tandemv1.JobSpec
	f.submit = func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		got = r.GetSpec()
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-2"}}, nil
	}
	for _, form := range []string{"yaml", "json"} {
		u.want(u.run("sweep", "best", "job-1", "-o", form), exitOK)
		u.in = u.out.String()
		u.want(u.run("submit", "-f", "-"), exitOK)
		want := proto.Clone(s.trials[6].GetSpec()).(*tandemv1.JobSpec)
		want.Name = "digits-asha-trial7" // the name of the sweep goes on to name the sweep
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: the spec that was submitted is not that of the trial (-want +got):\n%s", form, diff)
		}
	}
	u.want(u.run("submit", "-f", "-", "--set", "training.epochs=100", "--set", "publish.model=digits"), exitOK)
	if got.GetTraining().GetEpochs() != 100 || got.GetPublish().GetModel() != "digits" || got.GetTraining().GetSeed() != 1007 {
		t.Errorf("longer: %v", got)
	}
}

// TestDryRunIsASpecToSubmit: what --dry-run gives to programs is the complete spec, of a sweep too, and nothing else.
func TestDryRunIsASpecToSubmit(t *testing.T) {
	u, f := sweepUser(t, aSweep(t))
	complete := f.sweep.GetJob().GetSpec()
	var got *tandemv1.SubmitJobRequest
	f.submit = func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		got = r
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-2", Spec: complete}, Notes: []string{"The space has 12 points."}}, nil
	}
	file := write(t, u.dir, "job.yaml", aSpec)
	for _, form := range []string{"yaml", "json"} {
		u.want(u.run("submit", "-f", file, "--dry-run", "-o", form), exitOK, "The space has 12 points.")
		if !got.GetDryRun() {
			t.Fatal("it was submitted")
		}
		u.in = u.out.String()
		u.want(u.run("submit", "-f", "-"), exitOK)
		if diff := cmp.Diff(complete, got.GetSpec(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: not the spec that was shown was submitted (-want +got):\n%s", form, diff)
		}
	}
	u.want(u.run("submit", "-f", file, "--dry-run"), exitOK, "The spec is fine")
	if out := u.out.String(); strings.Contains(out, "State:") || strings.Contains(out, "Job:") || !strings.Contains(out, "Metric:") {
		t.Errorf("a spec is shown as a job that there is:\n%s", out)
	}
}

func TestSweepExitCodes(t *testing.T) {
	s := aSweep(t)
	u, f := sweepUser(t, s)
	u.want(u.run("sweep", "status", "x"), exitNotFound, "no such sweep")
	for _, args := range [][]string{
		{"status"}, {"nonsense"}, {"trials", "job-1", "--state", "asleep"}, {"trials", "job-1", "--sort", "age"}, {"trials", "job-1", "--limit", "-1"},
		{"plot", "job-1", "--file", "x.png"}, {"plot", "job-1", "--best", "0"}, {"replay", "job-1"}, {"replay", "job-1", "--method", "asha", "--divisor", "x"},
		{"replay", "job-1", "--method", "asha,rung=2"}, {"replay", "job-1", "--method", "asha,rungs"}, {"replay", "job-1", "--method", "zen"},
		{"replay", "job-1", "--method", "random", "--divisor", "3"}, {"replay", "job-1", "--method", "asha", "--slots", "-1"},
		{"extend", "job-1"}, {"extend", "job-1", "--max-trials", "many"}, {"extend", "job-1", "--max-trials", "-3"}, {"extend", "job-1", "--max-trials", "+0"},
		{"stop-trial", "job-1"}, {"stop-trial", "job-1", "x", "-y"}, {"stop-trial", "job-1", "0", "-y"}, {"stop-trial", "job-1", "3"}, {"status", "job-1", "-o", "xml"},
	} {
		u.want(u.run(append([]string{"sweep"}, args...)...), exitUsage)
		if !strings.HasPrefix(u.err.String(), "tandem: ") || u.out.String() != "" {
			t.Errorf("%v: something was said before: %s%s", args, u.out.String(), u.err.String())
		}
	}
	if len(f.extended)+len(f.stopped) > 0 {
		t.Error("a command that cannot be right did something")
	}
	f.sweep.Best, f.trials = nil, f.trials[13:]
	for _, args := range [][]string{{"best", "job-1"}, {"importance", "job-1"}, {"replay", "job-1", "--method", "asha"}} {
		u.want(u.run(append([]string{"sweep"}, args...)...), exitConflict)
	}
	u.want(u.run("sweep", "plot", "job-1"), exitOK, "No trial was measured yet")
	f.trials[0].StartCheckpointId = "ckpt-1"
	u.want(u.run("sweep", "replay", "job-1", "--method", "asha"), exitConflict, "trial 14 began from a checkpoint of another")
}

func TestExtendAndStopTrial(t *testing.T) {
	u, f := sweepUser(t, aSweep(t))
	u.want(u.run("sweep", "extend", "digits-asha", "--max-trials", "40"), exitOK, "job-1 may make 40 trials now, and has made 14")
	u.want(u.run("sweep", "extend", "digits-asha", "--max-trials", "+16"), exitOK, "job-1 may make 32 trials now")
	f.points = 18
	u.want(u.run("sweep", "extend", "digits-asha", "--max-trials", "20"), exitOK, "job-1 may make 18 trials now, for its grid has no more points, and has made 14")
	if f.extended[0].GetMaxTrials() != 40 || f.extended[1].GetMaxTrials() != 32 || f.extended[0].GetRequestId() == "" {
		t.Errorf("asked for %v", f.extended)
	}
	u.want(u.run("sweep", "stop-trial", "job-1", "3", "14", "-y"), exitOK, "Trial 3 is stopped", "Trial 14 is stopped")
	if len(f.stopped) != 2 || f.stopped[1].GetTrial() != 14 || f.stopped[1].GetRequestId() == f.stopped[0].GetRequestId() {
		t.Errorf("asked for %v", f.stopped)
	}
}

func TestTenThousandTrials(t *testing.T) {
	s := aSweep(t)
	like := s.trials[0]
	s.trials = nil
	for n := int32(1); n <= 10_000; n++ {
		trial := proto.CloneOf(like)
		trial.Number, trial.Id = n, fmt.Sprintf("trial-%05d", n)
		trial.Evaluations[0].Metrics["accuracy"] = float64((n*7919)%10_007) / 10_007
		s.trials = append(s.trials, trial)
	}
	u, f := sweepUser(t, s)
	u.want(u.run("sweep", "trials", "job-1"), exitOK, "100 of 10,000")
	if lines := strings.Count(u.out.String(), "\n"); lines != 101 {
		t.Errorf("%d lines", lines)
	}
	if len(f.pages) != 20 || f.pages[19] != 9500 || f.pages[1] != 500 {
		t.Errorf("pages after %v", f.pages)
	}
	u.want(u.run("sweep", "trials", "job-1", "-o", "csv"), exitOK)
	if lines := strings.Count(u.out.String(), "\n"); lines != 10_001 {
		t.Errorf("%d lines of CSV", lines)
	}
	for _, kind := range []string{"svg", "html"} {
		path := filepath.Join(u.dir, "many."+kind)
		u.want(u.run("sweep", "plot", "job-1", "--file", path), exitOK)
		if info, err := os.Stat(path); err != nil || info.Size() > 3<<20 {
			t.Errorf("%v, or %d bytes are too many to look at", err, info.Size())
		}
	}
}

// elements reads XML to its end and counts the elements; all texts and attributes together come too.
func elements(t *testing.T, b []byte) (map[string]int, string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	seen := map[string]int{}
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return seen, text.String()
		}
		if err != nil {
			t.Fatalf("no XML: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			seen[e.Name.Local]++
			for _, attr := range e.Attr {
				for _, bad := range []string{"on", "href", "src"} {
					if strings.HasPrefix(strings.ToLower(attr.Name.Local), bad) {
						t.Errorf("attribute %s=%q of %s", attr.Name.Local, attr.Value, e.Name.Local)
					}
				}
			}
		case xml.CharData:
			text.WriteString(string(e) + "\n")
		}
	}
}

func drawn(t *testing.T, u *user, name string) []byte {
	t.Helper()
	path := filepath.Join(u.dir, name)
	u.want(u.run("sweep", "plot", "job-1", "--file", path), exitOK, "Drawn")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(u.dir, ".tandem-*"))
	if len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	return b
}

func TestPicturesOfASweep(t *testing.T) {
	u, _ := sweepUser(t, aSweep(t))
	for _, name := range []string{"sweep.svg", "sweep.html"} {
		b := drawn(t, u, name)
		seen, text := elements(t, b)
		for _, want := range []string{
			"Validation accuracy of the trials", "Best so far", "Parallel coordinates", "Importance", "share of the training (%)", "trial 7: 0.97", "lr (log)", "0.001",
			"absent", "adamw", "[64, 64]", "momentum",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
		figures := 1
		if name == "sweep.html" {
			figures = 4
			if !strings.Contains(text, "Not among the best of its rung.") || bytes.Contains(b, []byte("<?xml")) {
				t.Errorf("no reason of a trial, or a declaration in the middle")
			}
			if seen["tr"] != 1+14 || seen["script"] > 0 || seen["link"] > 0 || seen["img"] > 0 {
				t.Errorf("elements of the page: %v", seen)
			}
		}
		if seen["svg"] != figures || seen["path"] < 40 {
			t.Errorf("%s has %d figures and %d paths", name, seen["svg"], seen["path"])
		}
	}
}

func TestPictureThatCannotBeWritten(t *testing.T) {
	u, _ := sweepUser(t, aSweep(t))
	if err := os.Mkdir(filepath.Join(u.dir, "taken.svg"), 0o700); err != nil {
		t.Fatal(err)
	}
	u.want(u.run("sweep", "plot", "job-1", "--file", filepath.Join(u.dir, "taken.svg")), exitError, "taken.svg")
	u.want(u.run("sweep", "plot", "job-1", "--file", filepath.Join(u.dir, "none", "a.svg")), exitError, "none/a.svg")
	if left, _ := filepath.Glob(filepath.Join(u.dir, ".tandem-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestHostileTextsOfASweep(t *testing.T) {
	const evil = "\x1b[2J<script>alert(1)</script>\"'&]]>--><!--\x00\u202e"
	s := aSweep(t)
	job := s.sweep.GetJob()
	job.Name, job.Reason, job.Spec.Metric = evil, evil, evil
	job.Spec.Search.Method.Name = evil
	space := job.GetSpec().GetSearch().GetSpace()
	space[evil] = &tandemv1.Domain{Choice: &structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue(strings.ToValidUTF8(evil, "")), structpb.NewStringValue("b")}}}
	for _, trial := range s.trials {
		trial.Reason = evil
		trial.Parameters.Fields[evil] = structpb.NewStringValue(evil)
		for _, e := range trial.GetEvaluations() {
			e.Metrics[evil] = e.GetMetrics()["accuracy"]
		}
	}
	u, _ := sweepUser(t, s)
	for _, name := range []string{"sweep.svg", "sweep.html"} {
		seen, text := elements(t, drawn(t, u, name))
		if seen["script"] > 0 || !strings.Contains(text, "<script>alert(1)") {
			t.Errorf("%s: %d scripts, or the name does not exist", name, seen["script"])
		}
	}
	for _, args := range [][]string{
		{"status"}, {"trials"}, {"trials", "-o", "wide"}, {"best"}, {"plot"}, {"importance"}, {"replay", "--method", "asha"},
	} {
		u.want(u.run(append([]string{"sweep", args[0], "job-1"}, args[1:]...)...), exitOK)
		if strings.ContainsAny(u.out.String()+u.err.String(), "\x1b\x00\u202e") {
			t.Errorf("%v writes what steers a terminal: %q", args, u.out.String())
		}
	}
}

func TestWaitForASweep(t *testing.T) {
	ca := newAuthority(t)
	for state, code := range map[tandemv1.JobState]int{
		tandemv1.JobState_JOB_STATE_COMPLETED: exitOK, tandemv1.JobState_JOB_STATE_FAILED: exitFailed, tandemv1.JobState_JOB_STATE_CANCELLED: exitCancelled,
	} {
		f := &fake{fakeSweep: aSweep(t)}
		f.watch = func(_ context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
			running := proto.CloneOf(f.sweep.GetJob())
			f.sweep.Job.State = state
			return errors.Join(send(&tandemv1.WatchJobResponse{Job: running}), send(&tandemv1.WatchJobResponse{Job: f.sweep.GetJob()}))
		}
		u := newUser(t, ca.pem, ca.serve(t, f))
		u.want(u.run("wait", "job-1"), code, "digits-asha (job-1) running", "trials 12/16 done  1 running  0 waiting  best accuracy 0.9700 (trial 7)  1 paused  1 failed",
			"accuracy 0.97: trial 7 (trial-07), at step 300 of 400", "training.optimizer.lr")
		if code != exitOK {
			u.want(code, code, "tandem sweep trials job-1")
		}
		u.want(u.run("wait", "job-1", "-o", "json"), code)
		got := &struct {
			Job   struct{ State string }
			Sweep struct {
				BestValue float64 `json:"best_value"`
			}
			Best struct{ Parameters map[string]any }
		}{}
		if err := json.Unmarshal([]byte(u.out.String()), got); err != nil || got.Job.State != plain.Word(state) || got.Sweep.BestValue != 0.97 || len(got.Best.Parameters) != 3 {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

func TestDetachFromASweep(t *testing.T) {
	ca := newAuthority(t)
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{fakeSweep: aSweep(t)}
	f.watch = func(ctx context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
		err := send(&tandemv1.WatchJobResponse{Job: f.sweep.GetJob()})
		cancel()
		<-ctx.Done()
		return err
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.runContext(ctx, "wait", "job-1"), exitInterrupted, "Detached", "tandem wait")
	if len(f.intents)+len(f.stopped) > 0 {
		t.Error("the sweep was touched")
	}
}

func TestProgressOfASweep(t *testing.T) {
	s := aSweep(t)
	now := time.Unix(0, 0)
	asked := 0
	var out strings.Builder
	r := &sweepReporter{
		reporter: &lines{out: &out, every: lineEvery, now: func() time.Time { return now }}, now: func() time.Time { return now },
		ask: func(string) (*tandemv1.GetSweepResponse, error) {
			if asked++; asked == 2 {
				return nil, errors.New("no leader")
			}
			return s.sweep, nil
		},
	}
	w := &tandemv1.WatchJobResponse{Job: s.sweep.GetJob(), Progress: s.sweep.GetProgress()}
	now = now.Add(time.Hour)
	for range 10 { // the first asks, one says nothing, the next says nothing new
		r.update(w)
		now = now.Add(lineEvery / 3)
	}
	s.sweep.Sweep.Trials["running"]--
	s.sweep.Sweep.Trials["completed"]++
	now = now.Add(lineEvery)
	r.update(w)
	got := out.String()
	if asked != 4 || strings.Count(got, "trials ") != 2 || !strings.Contains(got, "trials 13/16 done  0 running") {
		t.Errorf("asked %d times; shown:\n%s", asked, got)
	}
	if strings.Contains(got, "Searches.") {
		t.Errorf("the reason says again what the figures say:\n%s", got)
	}
	s.sweep.Sweep.Finished, s.sweep.Job.Reason = true, "Trial 7 is being published."
	now = now.Add(lineEvery)
	r.update(w)
	if !strings.Contains(out.String(), "running: Trial 7 is being published.") {
		t.Errorf("shown:\n%s", out.String())
	}
	var screen strings.Builder
	b := &bar{out: &screen, columns: func() int { return usualColumns }}
	b.sweep(s.sweep)
	b.close()
	if !strings.Contains(screen.String(), "best accuracy 0.9700 (trial 7)") {
		t.Errorf("bar: %q", screen.String())
	}
}

// TestPlotsFitTheTerminal: no line of a plot is longer than the screen is wide.
func TestPlotsFitTheTerminal(t *testing.T) {
	for _, columns := range []int{60, 80, 100, 200} {
		u, _ := sweepUser(t, aSweep(t))
		u.env["COLUMNS"] = strconv.Itoa(columns)
		u.want(u.run("sweep", "plot", "digits-asha"), exitOK, "Best accuracy so far")
		for line := range strings.SplitSeq(u.out.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > columns {
				t.Errorf("%d columns: a line of %d: %s", columns, n, line)
			}
		}
	}
}

func TestDescribeListAndCompleteSweeps(t *testing.T) {
	u, f := sweepUser(t, aSweep(t))
	f.get = func(string) (*tandemv1.GetJobResponse, error) {
		return &tandemv1.GetJobResponse{Job: f.sweep.GetJob()}, nil
	}
	f.jobs = []*tandemv1.Job{f.sweep.GetJob(), {Id: "job-0", Name: "other", Kind: tandemv1.JobKind_JOB_KIND_TRAIN}}
	u.want(u.run("describe", "job-1"), exitOK, "Kind:", "sweep", "asha, points from random, 3 rungs, 1 of 4 goes on", "accuracy 0.97: trial 7", "log [0.0001, 0.1]")
	u.want(u.run("list", "-o", "wide"), exitOK, "sweep")
	for _, verb := range []string{"status", "best", "trials", "plot", "importance", "replay", "extend", "stop-trial"} {
		u.want(u.run("__complete", "sweep", verb, ""), exitOK, "job-1\tdigits-asha, running")
		if strings.Contains(u.out.String(), "job-0") {
			t.Errorf("%s completes what is not a sweep", verb)
		}
	}
	u.want(u.run("api"), exitOK, "SweepService/GetSweep", "MetricService/GetMetrics")
}
