package spec

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func find(ref string) (*tandemv1.Dataset, error) {
	digits := &tandemv1.Dataset{
		Id: "data-1", Name: "digits", Version: 2, Task: "classification", Classes: 10, Shape: []int64{1, 8, 8},
		Rows: map[string]int64{"train": 1437, "validation": 180, "test": 180},
	}
	flat := proto.Clone(digits).(*tandemv1.Dataset)
	flat.Name, flat.Shape = "flat", []int64{64}
	photos := proto.Clone(digits).(*tandemv1.Dataset)
	photos.Name, photos.Shape = "photos", []int64{3, 224, 224}
	prices := &tandemv1.Dataset{
		Id: "data-2", Name: "prices", Version: 1, Task: "regression", Shape: []int64{13},
		Rows: map[string]int64{"train": 404, "validation": 51, "test": 51},
	}
	whole := proto.Clone(prices).(*tandemv1.Dataset)
	whole.Name, whole.Rows = "whole", map[string]int64{"train": 506}
	novel := &tandemv1.Dataset{
		Id: "data-3", Name: "novel", Version: 1, Task: "language", Classes: 256, Shape: []int64{64},
		Rows: map[string]int64{"train": 404, "validation": 51},
	}
	icons := proto.Clone(digits).(*tandemv1.Dataset) // the last batch of 64 has one row
	icons.Name, icons.Rows = "icons", map[string]int64{"train": 65, "validation": 8}
	for _, d := range []*tandemv1.Dataset{novel, digits, flat, photos, prices, whole, icons} {
		if ref == d.GetName() || ref == fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion()) {
			return d, nil
		}
	}
	return nil, fmt.Errorf("dataset %q: %w", ref, state.ErrNotFound)
}

const good = `{"name":"digits","dataset":"digits","model":{"cnn":{"channels":[16,32],"hidden":[64]}},
	"training":{"batch":64,"epochs":20},"resources":{"workers":2},"publish":{"model":"digits","aliases":["champion"]}}`

func parse(t testing.TB, text string) *tandemv1.JobSpec {
	t.Helper()
	s := &tandemv1.JobSpec{}
	if err := protojson.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaults(t *testing.T) {
	in := parse(t, good)
	before := proto.Clone(in)
	got, err := Complete(in, find)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(in, before) {
		t.Error("the spec that was given was changed")
	}
	want := parse(t, `{"name":"digits","kind":"train","dataset":"digits@2","datasetId":"data-1",
		"model":{"cnn":{"channels":[16,32],"kernel":3,"pool":2,"hidden":[64],"activation":"relu","norm":"none"}},
		"training":{"batch":64,"epochs":20,"loss":"cross_entropy","microBatches":1,
			"optimizer":{"name":"adamw","lr":0.001,"weightDecay":0.01,"beta1":0.9,"beta2":0.999,"eps":1e-8},"schedule":{"name":"constant"}},
		"resources":{"workers":2,"pool":"default","min":2,"max":2},"evaluate":{"batch":64},"checkpoint":{"keep":{"best":1,"latest":1}},
		"metric":"accuracy","mode":"max","tieBreaker":"loss","maxRestarts":3,"publish":{"model":"digits","aliases":["champion"],"if":"better"}}`)
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	again, err := Complete(got, find)
	if err != nil || !proto.Equal(again, got) {
		t.Errorf("completing twice is not completing once: %v, %v", again, err)
	}
	h1, err1 := Hash(got)
	h2, err2 := Hash(proto.Clone(got).(*tandemv1.JobSpec))
	again.Training.Seed++
	h3, err3 := Hash(again)
	if err := errors.Join(err1, err2, err3); err != nil || h1 != h2 || h1 == h3 || len(h1) != 64 {
		t.Errorf("hashes %s %s %s, %v", h1, h2, h3, err)
	}
}

func resnetOf(m *tandemv1.ResnetSpec) func(*tandemv1.JobSpec) {
	return func(s *tandemv1.JobSpec) {
		s.Model = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Resnet{Resnet: m}}
	}
}

func gptOf(dataset string, m *tandemv1.GptSpec) func(*tandemv1.JobSpec) {
	return func(s *tandemv1.JobSpec) {
		s.Dataset, s.Model = dataset, &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Gpt{Gpt: m}}
	}
}

func TestDefaultsOfModels(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tandemv1.JobSpec)
		want   string
	}{
		"resnet8":  {resnetOf(&tandemv1.ResnetSpec{Depth: 8}), `{"resnet":{"depth":8,"stem":"small","norm":"batch"}}`},
		"resnet18": {resnetOf(&tandemv1.ResnetSpec{Depth: 18}), `{"resnet":{"depth":18,"stem":"small","norm":"batch"}}`},
		"photos": {func(s *tandemv1.JobSpec) {
			resnetOf(&tandemv1.ResnetSpec{Depth: 18})(s)
			s.Dataset = "photos"
		}, `{"resnet":{"depth":18,"stem":"imagenet","norm":"batch"}}`},
		"gpt": {gptOf("novel", &tandemv1.GptSpec{Heads: 2}), `{"gpt":{"layers":4,"width":128,"heads":2,"context":64}}`},
	} {
		s := parse(t, good)
		tc.change(s)
		got, err := Complete(s, find)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := &tandemv1.ModelSpec{}
		if err := protojson.Unmarshal([]byte(tc.want), want); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.GetModel(), want) {
			t.Errorf("%s: got %v, want %v", name, got.GetModel(), want)
		}
	}
}

// TestBatchNormOfOneRow: a training in which a worker would have one row of which one value a channel is left is refused before it
// begins, whichever number of workers between min and max would meet it, and no other one is.
func TestBatchNormOfOneRow(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tandemv1.JobSpec)
		want   string // what the error says; "": none
	}{
		"the last batch":              {func(*tandemv1.JobSpec) {}, "with 1 worker and a batch of 1 row a worker gets a single row, which \"batch\" cannot normalise; use norm: group, or another training.batch (an epoch has 65 rows)"},
		"group norm":                  {func(s *tandemv1.JobSpec) { s.Model.GetResnet().Norm = "group" }, ""},
		"a deeper net has less":       {func(s *tandemv1.JobSpec) { s.Model.GetResnet().Depth = 8 }, ""}, // 2 x 2 values
		"another batch":               {func(s *tandemv1.JobSpec) { s.Training.Batch = 60 }, ""},
		"a batch that fits":           {func(s *tandemv1.JobSpec) { s.Training.Batch = 65 }, ""},
		"it ends before":              {func(s *tandemv1.JobSpec) { s.Training.Epochs, s.Training.Steps = 0, 1 }, ""},
		"it does not":                 {func(s *tandemv1.JobSpec) { s.Training.Epochs, s.Training.Steps = 0, 2 }, "a single row"},
		"two share two":               {func(s *tandemv1.JobSpec) { s.Training.Batch, s.Resources.Workers = 63, 2 }, "with 2 workers and a batch of 2 rows"},
		"it could be scaled to":       {func(s *tandemv1.JobSpec) { s.Training.Batch, s.Resources.Max = 63, 2 }, "with 2 workers and a batch of 2 rows"},
		"it could shrink to":          {func(s *tandemv1.JobSpec) { s.Resources.Workers, s.Resources.Min = 2, 1 }, "with 1 worker and a batch of 1 row"},
		"micro-batches of whole ones": {func(s *tandemv1.JobSpec) { s.Training.Batch, s.Training.MicroBatches = 65, 40 }, "a batch of 65 rows in 40 micro-batches"},
		"micro-batches of two rows":   {func(s *tandemv1.JobSpec) { s.Training.Batch, s.Training.MicroBatches = 65, 32 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, good)
			s.Dataset, s.Resources = "icons", &tandemv1.ResourceSpec{Workers: 1}
			resnetOf(&tandemv1.ResnetSpec{Depth: 18})(s)
			tc.change(s)
			_, err := Complete(s, find)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestEachKindIsCompleted: what the table of kinds has is completed here.
func TestEachKindIsCompleted(t *testing.T) {
	for _, word := range append(kind.Words(), "scan") {
		_, err := Complete(&tandemv1.JobSpec{Name: "x", Kind: word}, find)
		if known := !strings.Contains(fmt.Sprint(err), "kind:"); err == nil || known != (word != "scan") {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestBadSpecs(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tandemv1.JobSpec)
		want   string // the whole message
	}{
		"no name":       {func(s *tandemv1.JobSpec) { s.Name = "" }, "name: " + NameRule},
		"bad name":      {func(s *tandemv1.JobSpec) { s.Name = "-x" }, "name: " + NameRule},
		"long name":     {func(s *tandemv1.JobSpec) { s.Name = strings.Repeat("a", 64) }, "name: " + NameRule},
		"kind":          {func(s *tandemv1.JobSpec) { s.Kind = "sweeping" }, `kind: "sweeping" is not known, must be "train", "publish", "replay" or "sweep"`},
		"no dataset":    {func(s *tandemv1.JobSpec) { s.Dataset = "" }, `dataset: is missing: name one that "tandem dataset list" shows`},
		"other dataset": {func(s *tandemv1.JobSpec) { s.Dataset = "digts" }, `dataset: dataset "digts": not found; "tandem dataset list" shows those there are`},
		"no validation": {func(s *tandemv1.JobSpec) {
			s.Dataset = "whole"
			s.Model = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{}}}
		}, "dataset: whole@1 has no rows in its validation split; make it again with, for example, --split 80/10/10"},
		"wall":              {func(s *tandemv1.JobSpec) { s.Limits = &tandemv1.LimitsSpec{Wall: "1d"} }, `limits.wall: "1d" must be a time from 1s to 8760h, such as "12h"`},
		"label key":         {func(s *tandemv1.JobSpec) { s.Labels = map[string]string{"a b": "c"} }, `labels: key "a b" must be 1 to 63 of a-z, A-Z, 0-9, and . _ - / between them`},
		"label value":       {func(s *tandemv1.JobSpec) { s.Labels = map[string]string{"a": ""} }, "labels.a: has no value: give it one, or leave it out"},
		"publish if":        {func(s *tandemv1.JobSpec) { s.Publish.If = "worse" }, `publish.if: "worse" is not known, must be "better" or "always"`},
		"tie-breaker":       {func(s *tandemv1.JobSpec) { s.TieBreaker = "mae" }, `tie_breaker: "mae" is not known, must be "loss" or "none"`},
		"loss breaks a tie": {func(s *tandemv1.JobSpec) { s.Metric, s.TieBreaker = "loss", "loss" }, `tie_breaker: "loss" is not known, must be "none"`},
		"no model":          {func(s *tandemv1.JobSpec) { s.Model = nil }, "model: is missing: give one of mlp, cnn, resnet, gpt and torchscript"},
		"flat images":       {func(s *tandemv1.JobSpec) { s.Dataset = "flat" }, "model.cnn: needs images of shape [channels, height, width], but dataset flat@2 has rows of shape [64]; make it with --shape, or use model.mlp"},
		"channels":          {func(s *tandemv1.JobSpec) { s.Model.GetCnn().Channels = []int32{16, 0} }, "model.cnn.channels[1]: must be at least 1"},
		"even kernel":       {func(s *tandemv1.JobSpec) { s.Model.GetCnn().Kernel = 4 }, "model.cnn.kernel: must be odd"},
		"activation":        {func(s *tandemv1.JobSpec) { s.Model.GetCnn().Activation = "relo" }, `model.cnn.activation: "relo" is not known, must be "relu", "gelu" or "tanh"`},
		"dropout":           {func(s *tandemv1.JobSpec) { s.Model.GetCnn().Dropout = 1 }, "model.cnn.dropout: must be at least 0 and below 1"},
		"NaN dropout":       {func(s *tandemv1.JobSpec) { s.Model.GetCnn().Dropout = math.NaN() }, "model.cnn.dropout: must be at least 0 and below 1"},
		"resnet depth":      {resnetOf(&tandemv1.ResnetSpec{Depth: 34}), "model.resnet.depth: must be 8 or 18"},
		"resnet stem":       {resnetOf(&tandemv1.ResnetSpec{Depth: 18, Stem: "tiny"}), `model.resnet.stem: "tiny" is not known, must be "small" or "imagenet"`},
		"small stem":        {resnetOf(&tandemv1.ResnetSpec{Depth: 8, Stem: "imagenet"}), `model.resnet.stem: "imagenet" belongs to depth 18`},
		"resnet norm":       {resnetOf(&tandemv1.ResnetSpec{Depth: 8, Norm: "none"}), `model.resnet.norm: "none" is not known, must be "batch" or "group"`},
		"flat resnet": {func(s *tandemv1.JobSpec) {
			resnetOf(&tandemv1.ResnetSpec{Depth: 8})(s)
			s.Dataset = "flat"
		}, "model.resnet: needs images of shape [channels, height, width], but dataset flat@2 has rows of shape [64]; make it with --shape, or use model.mlp"},
		"gpt layers":  {gptOf("novel", &tandemv1.GptSpec{Layers: 65}), "model.gpt.layers: must be at most 64"},
		"gpt heads":   {gptOf("novel", &tandemv1.GptSpec{Width: 100, Heads: 3}), "model.gpt.heads: 3 heads cannot share a width of 100 evenly"},
		"gpt dropout": {gptOf("novel", &tandemv1.GptSpec{Dropout: 1}), "model.gpt.dropout: must be at least 0 and below 1"},
		"gpt context": {gptOf("novel", &tandemv1.GptSpec{Context: 128}), "model.gpt.context: is 128, but the rows of dataset novel@1 have 64 bytes; leave it out"},
		"gpt images":  {gptOf("digits", &tandemv1.GptSpec{}), "model.gpt: needs a dataset of text, but the task of dataset digits@2 is classification; make one with tandem dataset create --text"},
		"mlp on text": {func(s *tandemv1.JobSpec) {
			s.Dataset, s.Model = "novel", &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{}}}
		}, "model.mlp: gives one answer for a row, but dataset novel@1 is text, which wants one for each byte; use model.gpt"},
		"torchscript": {func(s *tandemv1.JobSpec) {
			s.Model = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Torchscript{Torchscript: &tandemv1.TorchScriptSpec{File: "net.pt"}}}
		}, "model.torchscript.file: is missing: give the path of the file; without the CLI upload it and give its SHA-256 as artifact"},
		"no batch":      {func(s *tandemv1.JobSpec) { s.Training.Batch = 0; s.Resources.Workers = 1 }, "training.batch: must be at least 1"},
		"long warm-up":  {func(s *tandemv1.JobSpec) { s.Training.Schedule = &tandemv1.ScheduleSpec{WarmupSteps: 461} }, "training.schedule.warmup_steps: is 461, but the training has 460 steps: it would never come to its learning rate"},
		"large batch":   {func(s *tandemv1.JobSpec) { s.Training.Batch = 1438 }, "training.batch: 1438 is more than the 1437 rows of the training split of digits@2"},
		"epochs, steps": {func(s *tandemv1.JobSpec) { s.Training.Steps = 5 }, "training: has both epochs and steps; give one of them"},
		"no end":        {func(s *tandemv1.JobSpec) { s.Training.Epochs = 0 }, "training: has neither epochs nor steps; give one of them"},
		"epochs":        {func(s *tandemv1.JobSpec) { s.Training.Epochs = -1 }, "training.epochs: must be at least 1"},
		"loss":          {func(s *tandemv1.JobSpec) { s.Training.Loss = "mse" }, `training.loss: "mse" does not fit dataset digits@2, whose task is classification; use "cross_entropy"`},
		"unknown loss":  {func(s *tandemv1.JobSpec) { s.Training.Loss = "mae" }, `training.loss: "mae" is not known, must be "cross_entropy" or "mse"`},
		"clip":          {func(s *tandemv1.JobSpec) { s.Training.ClipNorm = math.Inf(1) }, "training.clip_norm: must be from 0 to 1e+12"},
		"micro batches": {func(s *tandemv1.JobSpec) { s.Training.MicroBatches = 65 }, "training.micro_batches: must be at most 64"},
		"optimizer":     {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Name: "lion"} }, `training.optimizer.name: "lion" is not known, must be "sgd", "adam" or "adamw"`},
		"lr":            {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Lr: -1} }, "training.optimizer.lr: must be above 0 and at most 1e6"},
		"NaN lr":        {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Lr: math.NaN()} }, "training.optimizer.lr: must be above 0 and at most 1e6"},
		"nesterov":      {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Name: "sgd", Nesterov: true} }, "training.optimizer.nesterov: needs training.optimizer.momentum above 0"},
		"adam momentum": {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Name: "adam", Momentum: 0.9} }, "training.optimizer.momentum: belongs to sgd, not to adam"},
		"sgd betas":     {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Name: "sgd", Beta1: 0.9} }, "training.optimizer: beta1, beta2 and eps belong to adam and adamw, not to sgd"},
		"beta":          {func(s *tandemv1.JobSpec) { s.Training.Optimizer = &tandemv1.OptimizerSpec{Beta2: 1} }, "training.optimizer.beta2: must be at least 0 and below 1"},
		"schedule":      {func(s *tandemv1.JobSpec) { s.Training.Schedule = &tandemv1.ScheduleSpec{Name: "step"} }, `training.schedule.name: "step" is not known, must be "constant" or "cosine"`},
		"final ratio":   {func(s *tandemv1.JobSpec) { s.Training.Schedule = &tandemv1.ScheduleSpec{FinalRatio: 0.1} }, "training.schedule.final_ratio: belongs to cosine, not to constant"},
		"workers":       {func(s *tandemv1.JobSpec) { s.Resources.Workers = 65 }, "resources.workers: 65 workers cannot share a batch of 64 rows; use fewer workers or a larger training.batch"},
		"no workers":    {func(s *tandemv1.JobSpec) { s.Resources.Workers = -1 }, "resources.workers: must be at least 1"},
		"min":           {func(s *tandemv1.JobSpec) { s.Resources.Workers, s.Resources.Min = 2, 3 }, "resources.min: must be at most 2"},
		"no min":        {func(s *tandemv1.JobSpec) { s.Resources.Min = -1 }, "resources.min: must be at least 1"},
		"max":           {func(s *tandemv1.JobSpec) { s.Resources.Workers, s.Resources.Max = 3, 2 }, "resources.max: must be at least 3"},
		"large max":     {func(s *tandemv1.JobSpec) { s.Resources.Max = 65 }, "resources.max: 65 workers cannot share a batch of 64 rows; use fewer workers or a larger training.batch"},
		"pool":          {func(s *tandemv1.JobSpec) { s.Resources.Pool = "GPU" }, "resources.pool: " + NameRule},
		"evaluate":      {func(s *tandemv1.JobSpec) { s.Evaluate = &tandemv1.EvaluateSpec{EverySteps: -1} }, "evaluate.every_steps: must be at least 0"},
		"keep":          {func(s *tandemv1.JobSpec) { s.Checkpoint = &tandemv1.CheckpointSpec{Keep: &tandemv1.KeepSpec{Best: -1}} }, "checkpoint.keep.best: must be at least 1"},
		"metric":        {func(s *tandemv1.JobSpec) { s.Metric = "mae" }, `metric: "mae" is not known, must be "accuracy" or "loss"`},
		"mode min":      {func(s *tandemv1.JobSpec) { s.Mode = "min" }, `mode: is min, but accuracy is better when it is higher: leave mode out, or did you mean metric: loss?`},
		"mode max":      {func(s *tandemv1.JobSpec) { s.Metric, s.Mode = "loss", "max" }, `mode: is max, but loss is better when it is lower: leave mode out, or did you mean metric: accuracy?`},
		"mode":          {func(s *tandemv1.JobSpec) { s.Mode = "best" }, `mode: "best" is not known, must be "min" or "max"`},
		"priority":      {func(s *tandemv1.JobSpec) { s.Priority = 1001 }, "priority: must be at most 1000"},
		"step limit":    {func(s *tandemv1.JobSpec) { s.Limits = &tandemv1.LimitsSpec{Step: "soon"} }, "limits.step: \"soon\" must be a time from 1s to 168h, such as \"30m\""},
		"step too long": {func(s *tandemv1.JobSpec) { s.Limits = &tandemv1.LimitsSpec{Step: "200h"} }, "limits.step: \"200h\" must be a time from 1s to 168h, such as \"30m\""},
		"restarts":      {func(s *tandemv1.JobSpec) { s.MaxRestarts = proto.Int32(-1) }, "max_restarts: must be at least 0"},
		"publish name":  {func(s *tandemv1.JobSpec) { s.Publish.Model = "My Model" }, "publish.model: " + NameRule},
		"number alias":  {func(s *tandemv1.JobSpec) { s.Publish.Aliases = []string{"7"} }, `publish.aliases[0]: "7" is a number: numbers name versions`},
		"double alias":  {func(s *tandemv1.JobSpec) { s.Publish.Aliases = []string{"a", "a"} }, `publish.aliases[1]: "a" occurs twice`},
		"checkpoint":    {func(s *tandemv1.JobSpec) { s.Publish.CheckpointId = "ckpt-1" }, `publish.checkpoint_id: belongs to kind "publish" only: a job that trains publishes its own best checkpoint`},
		"publish only":  {func(s *tandemv1.JobSpec) { proto.Reset(s); s.Name, s.Kind, s.Metric = "p", "publish", "loss" }, `metric: does not belong to a job of kind "publish"; publish: is missing: say which model`},
		"stray replay":  {func(s *tandemv1.JobSpec) { s.Replay = &tandemv1.ReplaySpec{} }, `replay: belongs to kind "replay" only`},
		"replay only": {func(s *tandemv1.JobSpec) {
			s.Kind, s.Model, s.Training, s.Publish = "replay", nil, nil, nil
		}, `dataset: does not belong to a job of kind "replay"; resources.workers: does not belong to a job of kind "replay", which has as many as trained then; replay.checkpoint_id: is missing: "tandem checkpoint list" shows those there are; replay.steps: must be at least 1`},
		"long replay": {func(s *tandemv1.JobSpec) {
			proto.Reset(s)
			s.Name, s.Kind, s.Replay = "r", "replay", &tandemv1.ReplaySpec{CheckpointId: "ckpt-1", Steps: 10_001}
		}, "replay.steps: must be at most 10000"},
		"two at once": {func(s *tandemv1.JobSpec) { s.Training.Batch = -1; s.Name = "" }, "name: " + NameRule + "; training.batch: must be at least 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, good)
			tc.change(s)
			_, err := Complete(s, find)
			var se *Error
			if !errors.As(err, &se) || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
	if _, err := Complete(nil, find); err == nil {
		t.Error("no spec was accepted")
	}
}

func FuzzComplete(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"kind":"publish","name":"p","publish":{"model":"m","checkpointId":"ckpt-1"}}`))
	f.Add([]byte(`{"kind":"replay","name":"r","replay":{"checkpointId":"ckpt-1","steps":20}}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(searched))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &tandemv1.JobSpec{}
		if protojson.Unmarshal(text, s) != nil {
			return
		}
		done, err := Complete(s, find)
		if err != nil {
			return
		}
		if again, err := Complete(done, find); err != nil || !proto.Equal(again, done) {
			t.Errorf("completing twice is not completing once: %v, %v", again, err)
		}
		if _, err := Hash(done); err != nil {
			t.Error(err)
		}
	})
}
