package publish_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
	"tandem.dev/storage/version"
	"tandem.dev/worker/publish"
	"tandem.dev/worker/train"
)

// linear is a model of one weight a class: output c of a row is w[c] times its first value.
type linear struct{ w []float32 }

func (l linear) Predict(x []float32, shape []int64) ([]float32, []int64, error) {
	rows, dim := int(shape[0]), len(x)/int(shape[0])
	var out []float32
	for i := range rows {
		for _, w := range l.w {
			out = append(out, w*x[i*dim])
		}
	}
	return out, []int64{shape[0], int64(len(l.w))}, nil
}

// engine exports a linear model as its plain bytes.
type engine struct{ salt string }

func (e engine) Export(_ context.Context, _ *tandemv1.JobSpec, _ []int64, _ int, state []safetensors.Tensor) ([]byte, []safetensors.Tensor, error) {
	if len(state) != 1 || state[0].Name != "w" {
		return nil, nil, fmt.Errorf("state %v", state)
	}
	return append([]byte("pt"+e.salt+":"), state[0].Data...), state, nil
}

func (e engine) Load(file []byte) (version.Model, error) {
	_, data, _ := bytes.Cut(file, []byte(":"))
	var l linear
	for ; len(data) > 0; data = data[4:] {
		l.w = append(l.w, math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
	return l, nil
}

func (engine) Libtorch() string { return "1.2.3" }

// scene is a store with a dataset of one feature (its sign is the class) and a checkpoint.
type scene struct {
	store *memstore.Store
	hook  memstore.Hook
	task  *tandemv1.PublishTask
}

func newScene(t *testing.T, weights ...float32) *scene {
	t.Helper()
	s := &scene{}
	s.store = memstore.New(memstore.Config{Hook: func(ctx context.Context, op memstore.Op) memstore.Fault {
		if s.hook != nil {
			return s.hook(ctx, op)
		}
		return memstore.Fault{}
	}})
	var csv strings.Builder
	csv.WriteString("x,y\n")
	for i := range 50 {
		fmt.Fprintf(&csv, "%d,plus\n%d,minus\n", 2*i+1, -2*i-1)
	}
	o := dataset.DefaultOptions()
	o.Label, o.Normalize = "y", dataset.Normalize{Method: dataset.MethodScale, Factor: 0.01}
	_, _, err := dataset.FromCSV(t.Context(), strings.NewReader(csv.String()), o, func(name string, b []byte) error {
		return s.store.Put(t.Context(), "datasets/d/"+name, bytes.NewReader(b), int64(len(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
	var w []byte
	for _, v := range weights {
		w = binary.LittleEndian.AppendUint32(w, math.Float32bits(v))
	}
	prefix := layout.Checkpoint("trials/t/ckpt", 7, 1)
	_, err = ckpt.Save(t.Context(), s.store, prefix, ckpt.Manifest{Trial: "t", DatasetID: "d", Step: 7, Generation: 1, WorldSize: 1, Metrics: map[string]float64{"accuracy": 0.5}},
		[][]safetensors.Tensor{{{Name: "model.w", DType: "F32", Shape: []int64{int64(len(weights))}, Data: w}, {Name: "optim.step", DType: "I64", Data: make([]byte, 8)}}})
	if err != nil {
		t.Fatal(err)
	}
	s.task = &tandemv1.PublishTask{
		Model: "signs", VersionId: "ver-1", VersionPrefix: "models/ver-1", DatasetPrefix: "datasets/d", Spec: &tandemv1.JobSpec{},
		Checkpoint: &tandemv1.Checkpoint{Id: "ckpt-1", TrialId: "t", Prefix: prefix},
		Lineage:    &tandemv1.Lineage{JobId: "j", TrialId: "t", CheckpointId: "ckpt-1", Step: 7, DatasetId: "d", Dataset: "signs@1", SpecHash: "h", Seed: 3},
	}
	return s
}

func (s *scene) run(t *testing.T, salt string) (*tandemv1.VersionSaved, error) {
	t.Helper()
	return publish.New(s.task, publish.Deps{Store: s.store, Engine: engine{salt}, Log: zerolog.Nop()}).Run(t.Context())
}

// Classes are sorted by name: minus is 0.
var right = []float32{-10, 10}

func TestPublish(t *testing.T) {
	s := newScene(t, right...)
	saved, err := s.run(t, "")
	if err != nil {
		t.Fatal(err)
	}
	v, err := version.Open(t.Context(), s.store, "models/ver-1", saved.GetManifestSha256())
	if err != nil {
		t.Fatal(err)
	}
	m := v.Manifest
	if m.Metrics["test_accuracy"] != 1 || m.Metrics["validation_accuracy"] != 0.5 || !(m.Metrics["test_loss"] > 0) {
		t.Errorf("metrics %v", m.Metrics)
	}
	want := version.Lineage{Job: "j", Trial: "t", Checkpoint: "ckpt-1", Step: 7, DatasetID: "d", Dataset: "signs@1", SpecHash: "h", Seed: 3}
	if diff := cmp.Diff(want, m.Lineage); diff != "" {
		t.Errorf("lineage (-want +got):\n%s", diff)
	}
	if m.Outputs[2].Datatype != "BYTES" || len(m.ClassNames) != 2 || m.Libtorch != "1.2.3" {
		t.Errorf("manifest %+v", m)
	}
	var total int64
	for info, err := range s.store.List(t.Context(), "models/ver-1/") {
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size
	}
	if total != saved.GetBytes() {
		t.Errorf("%d bytes reported, there are %d", saved.GetBytes(), total)
	}
	questions, err := v.Read(t.Context(), version.ProbesFile)
	if err != nil {
		t.Fatal(err)
	}
	probes, err := version.ParseProbes(questions, m)
	if err != nil || len(probes) != 8 {
		t.Fatalf("%d probes, %v", len(probes), err)
	}
	if err := version.CheckProbes(linear{right}, m, probes); err != nil {
		t.Errorf("the model that was published: %v", err)
	}
}

// Whatever write fails, the next attempt makes a whole version, even if it exports other bytes.
func TestRetryAfterAnyFault(t *testing.T) {
	clean := newScene(t, right...)
	if _, err := clean.run(t, ""); err != nil {
		t.Fatal(err)
	}
	for _, effect := range []bool{false, true} {
		for nth := 1; nth <= 4; nth++ { // three files and the manifest
			s := newScene(t, right...)
			writes := 0
			s.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
				if op.Kind == memstore.OpPut || op.Kind == memstore.OpPutIfAbsent {
					if writes++; writes == nth {
						return memstore.Fault{Err: storage.ErrUnavailable, TakeEffect: effect}
					}
				}
				return memstore.Fault{}
			}
			_, err := s.run(t, "first")
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Fatalf("write %d failed, but publishing gave %v", nth, err)
			}
			s.hook = nil
			before := map[string][]byte{}
			for _, key := range s.store.Keys() {
				if before[key], err = s.store.Bytes(key); err != nil {
					t.Fatal(err)
				}
			}
			saved, err := s.run(t, "second")
			if err != nil {
				t.Fatalf("after a fault of write %d (effect %v): %v", nth, effect, err)
			}
			for key, b := range before {
				if after, err := s.store.Bytes(key); err != nil || !bytes.Equal(after, b) {
					t.Errorf("after a fault of write %d (effect %v) the bytes of %s were changed", nth, effect, key)
				}
			}
			v, err := version.Open(t.Context(), s.store, "models/ver-1", saved.GetManifestSha256())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range v.Manifest.Files {
				if _, err := v.Read(t.Context(), f.Name); err != nil {
					t.Errorf("after a fault of write %d (effect %v): %v", nth, effect, err)
				}
			}
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		scene *scene
		spoil func(*scene)
		want  error
	}{
		"three outputs for two classes": {newScene(t, 1, 2, 3), func(*scene) {}, version.ErrOutput},
		"a checkpoint of another trial": {newScene(t, right...), func(s *scene) { s.task.Checkpoint.TrialId = "other" }, ckpt.ErrForeign},
		"a damaged checkpoint": {newScene(t, right...), func(s *scene) {
			if err := s.store.Flip(s.task.GetCheckpoint().GetPrefix()+"/manifest.json", 300); err != nil {
				t.Fatal(err)
			}
		}, ckpt.ErrCorrupt},
		"another checkpoint's version": {newScene(t, right...), func(s *scene) {
			if _, err := s.run(t, ""); err != nil {
				t.Fatal(err)
			}
			s.task = proto.CloneOf(s.task)
			s.task.Lineage.CheckpointId = "ckpt-2"
		}, nil},
		"a model of NaN": {newScene(t, nan, nan), func(*scene) {}, nil},
	} {
		c.spoil(c.scene)
		_, err := c.scene.run(t, "")
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && !train.IsPermanent(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// unsteady is a model that answers each time a little more, as one does that was traced with its dropout.
type unsteady struct {
	linear
	calls *atomic.Int32
}

func (u unsteady) Predict(x []float32, shape []int64) ([]float32, []int64, error) {
	out, outShape, err := u.linear.Predict(x, shape)
	for i := range out {
		out[i] += float32(u.calls.Add(1))
	}
	return out, outShape, err
}

type unsteadyEngine struct{ engine }

func (e unsteadyEngine) Load(file []byte) (version.Model, error) {
	m, err := e.engine.Load(file)
	return unsteady{m.(linear), new(atomic.Int32)}, err
}

// TestModelThatDoesNotRepeatItselfIsNotPublished: no replica would ever serve it.
func TestModelThatDoesNotRepeatItselfIsNotPublished(t *testing.T) {
	s := newScene(t, right...)
	_, err := publish.New(s.task, publish.Deps{Store: s.store, Engine: unsteadyEngine{}, Log: zerolog.Nop()}).Run(t.Context())
	if !train.IsPermanent(err) || !strings.Contains(err.Error(), "model.eval()") {
		t.Errorf("%v", err)
	}
	for _, key := range s.store.Keys() {
		if strings.HasPrefix(key, "models/") {
			t.Errorf("%s was written", key)
		}
	}
}

// TestIncumbents: a version that an alias is to be taken from is measured on the rows that the new one is measured on.
func TestIncumbents(t *testing.T) {
	s := newScene(t, right...)
	if _, err := s.run(t, ""); err != nil {
		t.Fatal(err)
	}
	old := s.task.GetVersionPrefix()
	other := newScene(t, 10, -10) // answers the wrong way round
	other.store, other.task.VersionId, other.task.VersionPrefix = s.store, "ver-2", "models/ver-2"
	prefix := layout.Checkpoint("trials/t/ckpt", 9, 1)
	w := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(10)), math.Float32bits(-10))
	if _, err := ckpt.Save(t.Context(), s.store, prefix, ckpt.Manifest{Trial: "t", DatasetID: "d", Step: 9, Generation: 1, WorldSize: 1},
		[][]safetensors.Tensor{{{Name: "model.w", DType: "F32", Shape: []int64{2}, Data: w}}}); err != nil {
		t.Fatal(err)
	}
	other.task.Checkpoint.Prefix = prefix
	changed := func(how func(m *version.Manifest)) *tandemv1.Incumbent { // the old version, its manifest changed
		v, err := version.Open(t.Context(), s.store, old, "")
		if err != nil {
			t.Fatal(err)
		}
		how(&v.Manifest)
		b, err := sealed.Marshal(v.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("ver-%x", sha256.Sum256(b))
		if err := s.store.Put(t.Context(), "models/"+id+"/"+version.ManifestName, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		return &tandemv1.Incumbent{VersionId: id, Prefix: "models/" + id}
	}
	other.task.Incumbents = []*tandemv1.Incumbent{
		{VersionId: "ver-1", Prefix: old},
		changed(func(m *version.Manifest) { m.ClassNames = []string{"plus", "minus"} }),
		changed(func(m *version.Manifest) { m.Features = []string{"z"} }),
		changed(func(*version.Manifest) {}), // without files
		{VersionId: "ver-x", Prefix: "models/none"},
	}
	for _, attempt := range []string{"first", "second, which finds the version of the first"} {
		saved, err := other.run(t, "")
		if err != nil {
			t.Fatal(err)
		}
		got := saved.GetIncumbents()
		if len(got) != 5 || saved.GetMetrics()["test_accuracy"] != 0 || got[0].GetMetrics()["test_accuracy"] != 1 || got[0].GetProblem() != "" {
			t.Fatalf("%s: %v and %v", attempt, saved.GetMetrics(), got)
		}
		for i, want := range []string{1: "other classes", 2: "other columns", 3: "damaged", 4: "damaged"} {
			if len(got[i].GetMetrics()) > 0 == (want != "") || !strings.Contains(got[i].GetProblem(), want) {
				t.Errorf("%s: incumbent %d: %v", attempt, i, got[i])
			}
		}
	}
	other.hook = nil
	s.hook = func(_ context.Context, op memstore.Op) memstore.Fault {
		if strings.HasPrefix(op.Key, old) {
			return memstore.Fault{Err: storage.ErrUnavailable}
		}
		return memstore.Fault{}
	}
	if _, err := other.run(t, ""); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("the store is away, and the incumbent counts as not comparable: %v", err)
	}
}

// TestIncumbentsWithoutTestSplit: then the validation split decides, which the new version was measured on in training.
func TestIncumbentsWithoutTestSplit(t *testing.T) {
	s := newScene(t, right...)
	if _, err := s.run(t, ""); err != nil {
		t.Fatal(err)
	}
	o := dataset.DefaultOptions()
	o.Label, o.Split, o.Normalize = "y", dataset.Ratio{50, 50, 0}, dataset.Normalize{Method: dataset.MethodScale, Factor: 0.01}
	_, _, err := dataset.FromCSV(t.Context(), strings.NewReader("x,y\n1,plus\n-1,minus\n2,plus\n-2,minus\n3,plus\n-3,minus\n"), o, func(name string, b []byte) error {
		return s.store.Put(t.Context(), "datasets/e/"+name, bytes.NewReader(b), int64(len(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.task.DatasetPrefix = "datasets/e"
	s.task.Incumbents = []*tandemv1.Incumbent{{VersionId: "ver-1", Prefix: "models/ver-1"}}
	saved, err := s.run(t, "") // finds the version that is there
	if err != nil || len(saved.GetIncumbents()) != 1 || saved.GetIncumbents()[0].GetMetrics()["validation_accuracy"] != 1 {
		t.Errorf("%v: %v", saved.GetIncumbents(), err)
	}
}
