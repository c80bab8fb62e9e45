package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/version"
	"tandem.dev/worker/data"
	"tandem.dev/worker/torch"
)

// The example, as a user runs it: train on two ranks, publish, serve, predict.
func TestDigitsFromTrainingToPrediction(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(shared.home, "../../examples/digits/job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	j := training{trial: trial(t, ""), spec: parse(t, string(text)), generation: 1}
	begin := time.Now()
	a := j.finish(t)
	trained := time.Since(begin)
	best := &tandemv1.Checkpoint{}
	for _, c := range a.checkpoints("alloc-1/0") {
		if c.GetMetrics()["accuracy"] > best.GetMetrics()["accuracy"] {
			best = c
		}
	}
	for _, id := range []string{"alloc-1/0", "alloc-1/1"} {
		if a.last(id).GetFinished() == nil {
			t.Errorf("the last word of %s is %v", id, a.last(id))
		}
	}
	if len(a.progress) == 0 || a.progress[len(a.progress)-1].GetStep() != a.progress[len(a.progress)-1].GetTotalSteps() {
		t.Errorf("%d times progress, the last is %v", len(a.progress), a.progress[len(a.progress)-1:])
	}

	// Publish the best checkpoint.
	prefix, _ := digits()
	best.Id = "ckpt-1"
	task := &tandemv1.EngineTask{Id: "alloc-2/0", Generation: 2, Storage: shared.config, Task: &tandemv1.EngineTask_Publish{Publish: &tandemv1.PublishTask{
		JobId: "job-1", TrialId: j.trial, AllocationId: "alloc-2", Spec: j.spec, Model: "digits", VersionId: "ver-1", VersionPrefix: "models/ver-1",
		Checkpoint: best, DatasetPrefix: prefix,
		Lineage: &tandemv1.Lineage{JobId: "job-1", TrialId: j.trial, CheckpointId: "ckpt-1", Step: best.GetStep(), DatasetId: "data-digits", SpecHash: j.hash()},
	}}}
	if code := a.start(task).wait(t); code != 0 || a.last("alloc-2/0").GetFinished() == nil {
		t.Fatalf("publish ended with %d: %v", code, a.last("alloc-2/0"))
	}
	saved := a.reports["alloc-2/0"][1].GetVersion()
	t.Logf("trained in %v to step %d, validation %.4f, test %.4f", trained.Round(100*time.Millisecond), best.GetStep(), best.GetMetrics()["accuracy"], saved.GetMetrics()["test_accuracy"])
	if saved.GetMetrics()["test_accuracy"] < 0.97 {
		t.Errorf("metrics %v", saved.GetMetrics())
	}

	// A second attempt finds the version of the first.
	task.Id, task.Generation = "alloc-3/0", 3
	if code := a.start(task).wait(t); code != 0 {
		t.Fatalf("the second attempt ended with %d", code)
	}
	if again := a.reports["alloc-3/0"][1].GetVersion(); again.GetManifestSha256() != saved.GetManifestSha256() || again.GetBytes() != saved.GetBytes() {
		t.Errorf("the second attempt reports %v, the first %v", again, saved)
	}

	// Any libtorch loads the file and gives the answers of the probes.
	v, err := version.Open(t.Context(), shared.store, "models/ver-1", saved.GetManifestSha256())
	if err != nil {
		t.Fatal(err)
	}
	file, err := v.Read(t.Context(), version.ModelFile)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := torch.LoadModule(file, torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	set, err := data.Load(t.Context(), shared.store, prefix, data.Options{Splits: []string{data.Test}, KeepRaw: true})
	if err != nil {
		t.Fatal(err)
	}
	test := set.Split(data.Test)
	out, err := plain.Forward(torch.Float32Tensor(test.X, int64(test.Rows), 1, 8, 8))
	if err != nil {
		t.Fatal(err)
	}
	want, err := torch.Float32s(out)
	if err != nil {
		t.Fatal(err)
	}

	// Serve it: the answers are those of plain libtorch, bit for bit, and as accurate as published.
	serving := a.start(&tandemv1.EngineTask{Id: "replica-1", Storage: shared.config, Task: &tandemv1.EngineTask_Serve{Serve: &tandemv1.ServeTask{
		ReplicaId: "replica-1", Model: "digits", Version: 1, VersionPrefix: "models/ver-1", ManifestSha256: saved.GetManifestSha256(),
	}}})
	answer := infer(t, filepath.Join(a.dir, "serve.sock"), test.Raw, test.Rows)
	correct := 0
	for i, y := range answer.labels {
		if y == test.Labels[i] {
			correct++
		}
	}
	if got := float64(correct) / float64(test.Rows); got != saved.GetMetrics()["test_accuracy"] {
		t.Errorf("the replica is right for %v, published were %v", got, saved.GetMetrics()["test_accuracy"])
	}
	for i := range want {
		if answer.output[i] != want[i] {
			t.Fatalf("output %d of the replica is %v, of plain libtorch %v", i, answer.output[i], want[i])
		}
	}
	if err := serving.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := serving.wait(t); code != 0 {
		t.Errorf("the replica ended with %d after SIGTERM", code)
	}
}

type inference struct {
	output []float32
	labels []int64
}

// infer asks a replica on a unix socket, as soon as it listens.
func infer(t *testing.T, socket string, raw []float32, rows int) inference {
	t.Helper()
	body, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{
		"name": "input", "datatype": "FP32", "shape": []int{rows, 64}, "data": raw,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	var res *http.Response
	for end := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
		res, err = client.Post("http://replica/v2/models/digits/infer", "application/json", bytes.NewReader(body))
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, text)
	}
	var answer struct {
		Outputs []struct {
			Name string          `json:"name"`
			Data json.RawMessage `json:"data"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	var got inference
	for _, o := range answer.Outputs {
		switch o.Name {
		case "output":
			err = json.Unmarshal(o.Data, &got.output)
		case "label":
			err = json.Unmarshal(o.Data, &got.labels)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}
