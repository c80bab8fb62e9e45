package engine

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/version"
	"tandem.dev/worker/data"
	"tandem.dev/worker/model"
)

// A user's own TorchScript file learns a regression and is published.
func TestOwnModelLearnsARegression(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("a,b,y\n")
	for i := range 400 {
		a, b := float64(i%20)/10, float64(i/20)/10
		fmt.Fprintf(&csv, "%v,%v,%v\n", a, b, 3*a-2*b+0.5)
	}
	o := dataset.DefaultOptions()
	o.Label, o.Task, o.Normalize = "y", dataset.TaskRegression, dataset.Normalize{Method: dataset.MethodStandard}
	_, _, err := dataset.FromCSV(t.Context(), strings.NewReader(csv.String()), o, func(name string, b []byte) error {
		return shared.store.Put(context.Background(), "datasets/data-plane/"+name, bytes.NewReader(b), int64(len(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := model.Build(parse(t, mlp).GetModel(), []int64{2}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	file, err := plain.Save()
	if err != nil {
		t.Fatal(err)
	}
	text := `{name: r, dataset: d, model: {mlp: {hidden: [8]}}, resources: {workers: 2}, training: {batch: 40, epochs: 30, optimizer: {lr: 0.02}, schedule: {name: cosine}}}`
	j := training{trial: trial(t, ""), generation: 1, dataset: "datasets/data-plane",
		spec: parseFor(t, &tandemv1.Dataset{
			Id: "data-plane", Name: "plane", Version: 1, Task: "regression", Shape: []int64{2},
			Rows: map[string]int64{data.Train: 320, data.Validation: 40, data.Test: 40},
		}, text),
	}
	own(upload(t, file))(j.spec)
	a := j.finish(t)
	last, _ := final(t, a, "alloc-1/0")
	if m := last.GetMetrics(); !(m["mse"] < 0.1) || m["loss"] != m["mse"] || !(m["mae"] < 0.3) {
		t.Errorf("metrics %v", m)
	}
	last.Id = "ckpt-r"
	task := &tandemv1.EngineTask{Id: "alloc-2/0", Generation: 2, Storage: shared.config, Task: &tandemv1.EngineTask_Publish{Publish: &tandemv1.PublishTask{
		Spec: j.spec, Model: "plane", VersionId: "ver-r", VersionPrefix: "models/ver-r", Checkpoint: last, DatasetPrefix: j.dataset,
		Lineage: &tandemv1.Lineage{CheckpointId: "ckpt-r", DatasetId: "data-plane"},
	}}}
	if code := a.start(task).wait(t); code != 0 {
		t.Fatalf("publish ended with %d: %v", code, a.last("alloc-2/0"))
	}
	v, err := version.Open(t.Context(), shared.store, "models/ver-r", "")
	if err != nil {
		t.Fatal(err)
	}
	m := v.Manifest.Metrics
	if !(m["test_mse"] < 0.1) || math.Abs(m["validation_mse"]-last.GetMetrics()["mse"]) > 1e-12 || len(v.Manifest.Outputs) != 1 {
		t.Errorf("published metrics %v, outputs %v", m, v.Manifest.Outputs)
	}
}
