package engine

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
	"tandem.dev/worker/data"
)

// prose is the text of the example, put into the store once.
var prose = sync.OnceValues(func() (*tandemv1.Dataset, error) {
	text, err := os.ReadFile(filepath.Join(shared.home, "../../docs/DESIGN.md"))
	if err != nil {
		return nil, err
	}
	o := dataset.TextOptions{Context: 64, Split: dataset.Ratio{80, 10, 10}, Limits: dataset.DefaultOptions().Limits}
	m, err := dataset.FromText(context.Background(), bytes.NewReader(text), o, func(name string, b []byte) error {
		return shared.store.Put(context.Background(), "datasets/data-prose/"+name, bytes.NewReader(b), int64(len(b)))
	})
	d := &tandemv1.Dataset{Id: "data-prose", Name: "prose", Version: 1, Task: string(m.Task), Classes: int64(m.NumClasses), Shape: m.Shape, Rows: map[string]int64{}}
	for _, s := range m.Splits {
		d.Rows[s.Name] = s.Rows
	}
	return d, err
})

// onProse is a training on the text.
func onProse(t *testing.T, suffix, text string, sets ...string) training {
	t.Helper()
	d, err := prose()
	if err != nil {
		t.Fatal(err)
	}
	return training{trial: trial(t, suffix), generation: 1, dataset: "datasets/data-prose", spec: parseFor(t, d, text, sets...)}
}

// The examples learn, and what is published answers as the trained model did: a residual network with
// the running statistics of its batch normalisation, and a language model.
func TestExamplesFromTrainingToVersion(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		metric string
		good   func(first, last float64) bool
		train  func(t *testing.T, text string) training
	}{
		"resnet": {"digits/resnet.yaml", "accuracy", func(_, last float64) bool { return last > 0.95 },
			func(t *testing.T, text string) training {
				return training{trial: trial(t, ""), generation: 1, spec: parse(t, text, "training.epochs=4")}
			}},
		"gpt": {"text/job.yaml", "loss", func(first, last float64) bool { return last < first && last < 3 },
			func(t *testing.T, text string) training { return onProse(t, "", text, "training.epochs=8") }},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(shared.home, "../../examples", c.file))
			if err != nil {
				t.Fatal(err)
			}
			j := c.train(t, string(text))
			a := j.finish(t)
			kept := a.checkpoints("alloc-1/0")
			first, last := kept[0], kept[len(kept)-1]
			if !c.good(first.GetMetrics()[c.metric], last.GetMetrics()[c.metric]) {
				t.Errorf("%s %v at step %d, %v at step %d", c.metric, first.GetMetrics(), first.GetStep(), last.GetMetrics(), last.GetStep())
			}
			prefix := j.dataset
			if prefix == "" {
				prefix, _ = digits()
			}
			last.Id = "ckpt-1"
			task := &tandemv1.EngineTask{Id: "alloc-2/0", Generation: 2, Storage: shared.config, Task: &tandemv1.EngineTask_Publish{Publish: &tandemv1.PublishTask{
				JobId: "job-1", TrialId: j.trial, AllocationId: "alloc-2", Spec: j.spec, Model: name, VersionId: "ver-" + name, VersionPrefix: "models/ver-" + name,
				Checkpoint: last, DatasetPrefix: prefix,
				Lineage: &tandemv1.Lineage{JobId: "job-1", TrialId: j.trial, CheckpointId: "ckpt-1", Step: last.GetStep(), DatasetId: j.spec.GetDatasetId(), SpecHash: j.hash()},
			}}}
			if code := a.start(task).wait(t); code != 0 || a.last("alloc-2/0").GetFinished() == nil {
				t.Fatalf("publish ended with %d: %v", code, a.last("alloc-2/0"))
			}
			version := a.reports["alloc-2/0"][1].GetVersion().GetMetrics()
			if !c.good(first.GetMetrics()[c.metric], version["test_"+c.metric]) {
				t.Errorf("the version measures %v, the training %v", version, last.GetMetrics())
			}
			t.Logf("%s: %.4f on %s, %.4f on %s", c.metric, last.GetMetrics()[c.metric], data.Validation, version["test_"+c.metric], data.Test)
		})
	}
}
