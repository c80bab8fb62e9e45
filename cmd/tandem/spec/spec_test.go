package spec

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

var update = flag.Bool("update", false, "accept what the errors say now")

const digits = `# a comment
name: digits
dataset: digits@1
model:
  cnn:
    channels: [16, 32]
    hidden: [64]
    dropout: 0.1
training:
  batch: 64
  epochs: 1_0
  optimizer: &opt
    name: adamw
    lr: 1e-3
    weight_decay: 0
  schedule: {name: cosine, warmup_steps: 1e2}
resources: {workers: 2}
max_restarts: 0
publish:
  model: digits
  aliases: [champion]
`

func wanted() *tandemv1.JobSpec {
	return &tandemv1.JobSpec{
		Name: "digits", Dataset: "digits@1",
		Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Cnn{Cnn: &tandemv1.CnnSpec{
			Channels: []int32{16, 32}, Hidden: []int32{64}, Dropout: 0.1,
		}}},
		Training: &tandemv1.TrainingSpec{
			Batch: 64, Epochs: 10,
			Optimizer: &tandemv1.OptimizerSpec{Name: "adamw", Lr: 0.001, WeightDecay: proto.Float64(0)},
			Schedule:  &tandemv1.ScheduleSpec{Name: "cosine", WarmupSteps: 100},
		},
		Resources:   &tandemv1.ResourceSpec{Workers: 2},
		MaxRestarts: proto.Int32(0),
		Publish:     &tandemv1.PublishSpec{Model: "digits", Aliases: []string{"champion"}},
	}
}

func TestParse(t *testing.T) {
	got, err := Parse("digits.yaml", []byte(digits), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted(), got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestParseReadsItsOwnJSON(t *testing.T) {
	js, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: false}.Marshal(wanted())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("digits.json", js, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted(), got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestSet(t *testing.T) {
	got, err := Parse("digits.yaml", []byte(digits), []string{
		"training.optimizer.lr=0.5", "training.seed=7", "name=42", "model.mlp.hidden=[8, 8]",
		"publish.aliases=[a, b]", "training.optimizer.nesterov=true", "max_restarts=2",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := wanted()
	want.Name = "42"
	want.Training.Optimizer.Lr, want.Training.Optimizer.Nesterov, want.Training.Seed = 0.5, true, 7
	want.Model = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{8, 8}}}}
	want.Publish.Aliases = []string{"a", "b"}
	want.MaxRestarts = proto.Int32(2)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

const searched = `name: s
kind: sweep
search:
  max_trials: 8
  method: {name: tpe, stop: median}
  deadline: 2h30m
  space:
    training:
      batch: {int: [16, 64], step: 16}
      optimizer:
        name: {choice: [sgd, adamw]}
        lr: {log: [1e-4, 1e-1], count: 4}
        momentum:
          double: [0, 0.9]
          when: {training: {optimizer: {name: sgd}}, training.batch: [16, 32]}
        beta1: {choice: [1e-1, .5, -2.5E+1, "1e-1", 1e, 0x1F]}
        eps: {const: 1e-8, when: {training.optimizer.lr: 1e-2}}
        nesterov: {const: true, when: {training.optimizer.name: [sgd]}}
    model.mlp.hidden: {choice: [[16], &wide [32, 32], *wide]}
`

func TestMaps(t *testing.T) {
	got, err := Parse("s.yaml", []byte(searched), []string{"search.space.training.clip_norm={double: [0, 1]}", "search.space.training.batch={const: 8}", "search.seed=4"})
	if err != nil {
		t.Fatal(err)
	}
	list := func(values ...any) *structpb.ListValue {
		l, err := structpb.NewList(values)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	want := &tandemv1.JobSpec{Name: "s", Kind: "sweep", Search: &tandemv1.SearchSpec{
		MaxTrials: 8, Method: &tandemv1.MethodSpec{Name: "tpe", Stop: "median"}, Deadline: "2h30m", Seed: 4,
		Space: map[string]*tandemv1.Domain{
			"training.batch":          {Const: structpb.NewNumberValue(8)},
			"training.clip_norm":      {Double: []float64{0, 1}},
			"training.optimizer.name": {Choice: list("sgd", "adamw")},
			"training.optimizer.lr":   {Log: []float64{1e-4, 1e-1}, Count: 4},
			"training.optimizer.momentum": {Double: []float64{0, 0.9}, When: map[string]*structpb.ListValue{
				"training.optimizer.name": list("sgd"), "training.batch": list(16, 32),
			}},
			// A number is one however it is written, and text in quotes is text.
			"training.optimizer.beta1":    {Choice: list(0.1, 0.5, -25, "1e-1", "1e", 31)},
			"training.optimizer.eps":      {Const: structpb.NewNumberValue(1e-8), When: map[string]*structpb.ListValue{"training.optimizer.lr": list(0.01)}},
			"training.optimizer.nesterov": {Const: structpb.NewBoolValue(true), When: map[string]*structpb.ListValue{"training.optimizer.name": list("sgd")}},
			"model.mlp.hidden":            {Choice: list([]any{16}, []any{32, 32}, []any{32, 32})},
		},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse("s.json", js, nil); err != nil || !proto.Equal(want, again) {
		t.Errorf("its own JSON: %v, %v", again, err)
	}
}

// TestLabels: names with texts, a line each or on the command line, where what follows the first dot is the key.
func TestLabels(t *testing.T) {
	s, err := Parse("s", []byte("labels: {team: vision, example.com/a: b}\nafter: [one, two]"), []string{"labels.team=text", "labels.x.y=1"})
	want := map[string]string{"team": "text", "example.com/a": "b", "x.y": "1"}
	if err != nil || !maps.Equal(s.GetLabels(), want) || len(s.GetAfter()) != 2 {
		t.Errorf("%v, %v", s, err)
	}
	for text, want := range map[string]string{
		"labels: [a]":          "labels: wants names, each with text, got a list",
		"labels: {a: 3}":       `labels.a: wants text, got number 3: put it in quotes, "3"`,
		"labels: {<<: {a: b}}": "merge keys",
	} {
		if _, err := Parse("s", []byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestLaughs: what stands for itself ends.
func TestLaughs(t *testing.T) {
	for _, text := range []string{
		"search: {space: &x {a: *x, b: *x}}",
		"search: {space: {a: {choice: &x [*x, *x, *x]}}}",
		"search: {space: {a: {when: &x {a: *x, b: *x}}}}",
	} {
		if _, err := Parse("s", []byte(text), nil); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestAliases(t *testing.T) {
	got, err := Parse("s", []byte("training:\n  batch: &n 64\nevaluate:\n  batch: *n\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetEvaluate().GetBatch() != 64 {
		t.Errorf("batch is %d", got.GetEvaluate().GetBatch())
	}
}

// TestErrors keeps what people read: each testdata/*.yaml has its errors beside it in *.golden. Lines of the form
// "# --set k=v" are settings.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var sets []string
			for line := range strings.Lines(string(text)) {
				if set, ok := strings.CutPrefix(line, "# --set "); ok {
					sets = append(sets, strings.TrimSpace(set))
				}
			}
			_, err = Parse(filepath.Base(file), text, sets)
			if err == nil {
				t.Fatal("no error")
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := Parse("s", make([]byte, MaxBytes+1), nil); err == nil {
		t.Error("no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(digits), "training.batch=3")
	f.Add([]byte(searched), "search.space.training.steps={const: 3}")
	f.Add([]byte("a: &x *x\nname: *x"), "model.mlp.hidden=[1,2")
	f.Add([]byte("<<: {a: b}\nname: !!str 3\n"), "=")
	f.Add([]byte("- 1\n- 2\n"), "training=3")
	f.Add([]byte("{name: \"\xff\", training: {batch: 99999999999}}"), "training.batch=~")
	f.Add([]byte("name: |\n  text\n---\nname: b"), "model=*y")
	f.Add([]byte("? [a]\n: b\n"), "name")
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		s, err := Parse("spec.yaml", text, []string{set})
		var bad *Error
		if errors.As(err, &bad) && len(bad.Problems) == 0 {
			t.Error("an error without a problem")
		}
		if err != nil {
			return
		}
		js, err := protojson.Marshal(s)
		if err != nil {
			t.Skip("text that is not UTF-8")
		}
		again, err := Parse("spec.json", js, nil)
		if err == nil && !proto.Equal(s, again) {
			t.Errorf("changed on the way through JSON: %s", js)
		}
	})
}

// TestNoText: a file that is not a spec at all is told in one line.
func TestNoText(t *testing.T) {
	for name, text := range map[string]string{
		"ELF": "\x7fELF\x02\x01\x01\x00\x00", "zip": "PK\x03\x04\x14\x00", "UTF-16": "\xff\xfen\x00a\x00", "escape": "name: \x1b[2J\n", "latin": "name: Z\xfcrich\n",
	} {
		_, err := Parse("x.yaml", []byte(text), nil)
		if err == nil || err.Error() != "x.yaml is not text: a spec is YAML or JSON, in UTF-8" {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := Parse("x.yaml", []byte("\uFEFFname: Zürich\r\n"), nil)
	if err != nil || got.GetName() != "Zürich" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestNumbersOfYAML: numbers are those of YAML 1.2, in the file and in --set, and yes and no are text.
func TestNumbersOfYAML(t *testing.T) {
	for text, want := range map[string]int32{"010": 10, "0o10": 8, "0x10": 16, "+012": 12, "1e3": 1000, "089": 89, `"010"`: 10} {
		for place, parse := range map[string]func() (*tandemv1.JobSpec, error){
			"file":  func() (*tandemv1.JobSpec, error) { return Parse("s", []byte("training: {batch: "+text+"}"), nil) },
			"--set": func() (*tandemv1.JobSpec, error) { return Parse("s", nil, []string{"training.batch=" + text}) },
		} {
			s, err := parse()
			if got := s.GetTraining().GetBatch(); err != nil || got != want {
				t.Errorf("%s %s: %d, %v; want %d", place, text, got, err, want)
			}
		}
	}
	s, err := Parse("s", []byte("name: no\nsearch: {space: {training.optimizer.lr: {choice: [010, yes, 1e-3]}}}"), nil)
	if err != nil || s.GetName() != "no" {
		t.Fatal(s, err)
	}
	got := s.GetSearch().GetSpace()["training.optimizer.lr"].GetChoice().AsSlice()
	if len(got) != 3 || got[0] != 10.0 || got[1] != "yes" || got[2] != 1e-3 {
		t.Errorf("%v", got)
	}
	if _, err := Parse("s", []byte("search: {space: {training.optimizer.lr: {loguniform: [1, 2]}}}"), nil); err == nil || !strings.Contains(err.Error(), `unknown key "loguniform" in search.space.training.optimizer.lr: known keys are int`) {
		t.Errorf("%v", err)
	}
}
