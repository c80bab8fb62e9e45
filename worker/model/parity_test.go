//go:build cgo

package model_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// tolerance of each step's loss, relative to PyTorch's.
const tolerance = 1e-5

func TestMain(m *testing.M) {
	if err := torch.Init(torch.Options{Threads: 1, Deterministic: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// parityCase is one training of bench/peers/parity.py.
type parityCase struct {
	Model       string
	Double      bool // in F64
	Optimizer   torch.OptimizerKind
	Data        uint64 // which batches
	LR          float64
	Momentum    float64
	WeightDecay float64 `json:"weight_decay"`
	Beta1       float64
	Beta2       float64
	Eps         float64
	Losses      []float64 // of each step
	Evaluated   float64   // of the last batch after all steps, in evaluation mode
}

// parityModels are the models of parity.py as specs, with the rows of a batch, a row's shape and the outputs.
var parityModels = map[string]struct {
	spec    *tandemv1.ModelSpec // nil for the user's own file
	rows    int
	shape   []int64
	outputs int
}{
	"mlp":      {mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{48, 32}}), 32, []int64{64}, 10},
	"cnn":      {cnnSpec(&tandemv1.CnnSpec{Channels: []int32{8, 16}, Hidden: []int32{32}, Norm: "group", Activation: "gelu"}), 16, []int64{1, 12, 12}, 10},
	"resnet8":  {resnetSpec(&tandemv1.ResnetSpec{Depth: 8}), 16, []int64{3, 12, 12}, 10},
	"resnet18": {resnetSpec(&tandemv1.ResnetSpec{Depth: 18}), 8, []int64{3, 4, 4}, 10},
	"gpt":      {gptSpec(&tandemv1.GptSpec{Layers: 2, Width: 32, Heads: 4}), 8, []int64{16}, 256},
	"own":      {nil, 16, []int64{8, 4}, 2},
}

// The same initial weights, data and settings give PyTorch's loss at each of 100 steps.
func TestLossIsPyTorchs(t *testing.T) {
	b, err := os.ReadFile("testdata/parity.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []parityCase }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if want := 3 * len(parityModels); len(file.Cases) != want {
		t.Fatalf("%d cases instead of %d", len(file.Cases), want)
	}
	for _, c := range file.Cases {
		t.Run(c.Model+" "+string(c.Optimizer), func(t *testing.T) {
			t.Parallel()
			if len(c.Losses) != 100 || !(c.Losses[99] < 0.9*c.Losses[0]) {
				t.Fatalf("%d losses that do not fall: %v", len(c.Losses), c.Losses)
			}
			worst, at := 0.0, 0
			want := append(c.Losses, c.Evaluated)
			for i, got := range lossesOf(t, c) {
				if d := math.Abs(got-want[i]) / want[i]; !(d <= worst) {
					worst, at = d, i
				}
			}
			t.Logf("differs by up to %.1e, at step %d", worst, at+1)
			if !(worst <= tolerance) {
				t.Errorf("step %d (101 is evaluation): the loss differs from PyTorch's by %.1e, allowed are %.0e", at+1, worst, tolerance)
			}
		})
	}
}

// lossesOf trains as the case says, then evaluates the last batch.
func lossesOf(t *testing.T, c parityCase) []float64 {
	p, known := parityModels[c.Model]
	if !known {
		t.Fatalf("the model %s is not known", c.Model)
	}
	m := parityModel(t, p.spec, p.shape, p.outputs)
	defer m.Close()
	if c.Double {
		if err := m.Double(); err != nil {
			t.Fatal(err)
		}
	}
	loss := torch.CrossEntropy
	if p.spec == nil {
		loss = torch.MSE
	}
	tr, err := torch.NewTrainer(torch.TrainerConfig{Module: m, Loss: loss, Optimizer: torch.OptimizerConfig{
		Kind: c.Optimizer, Momentum: c.Momentum, WeightDecay: c.WeightDecay, Beta1: c.Beta1, Beta2: c.Beta2, Epsilon: c.Eps}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var data []torch.Batch
	for b := range uint64(4) {
		data = append(data, parityBatch(c.Model, 1000*c.Data+b, p.rows, p.shape))
	}
	var losses []float64
	for step := range c.Losses {
		r, err := tr.Step(torch.StepInput{Batch: data[step%len(data)], LossScale: 1 / float64(p.rows), LR: c.LR})
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, r.LossSum/float64(p.rows))
	}
	e, err := tr.Evaluate(data[(len(c.Losses)-1)%len(data)])
	if err != nil {
		t.Fatal(err)
	}
	return append(losses, e.LossSum/float64(p.rows))
}

// parityModel builds the spec, or loads the user's own file, and gives it the weights of parity.py.
func parityModel(t *testing.T, spec *tandemv1.ModelSpec, shape []int64, outputs int) *torch.Module {
	t.Helper()
	var m *torch.Module
	var err error
	if spec != nil {
		m, err = model.Build(spec, shape, outputs, 1)
	} else {
		var b []byte
		if b, err = os.ReadFile("testdata/parity-own.pt"); err == nil {
			m, err = torch.LoadModule(b, torch.CPU)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	params, err := m.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	state, err := m.Buffers()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(params, func(a, b torch.Tensor) int { return strings.Compare(a.Name, b.Name) })
	for n, p := range params {
		u := numbers(uint64(n), elements(p.Shape))
		scale, shift := float32(0.1), float32(0)
		if embedding := strings.HasPrefix(p.Name, "wte.") || strings.HasPrefix(p.Name, "wpe."); len(p.Shape) > 1 && !embedding {
			scale = float32(1.5 / math.Sqrt(float64(elements(p.Shape[1:]))))
		} else if len(p.Shape) == 1 && strings.HasSuffix(p.Name, "weight") {
			shift = 1
		}
		for i := range u {
			u[i] = float32(u[i]*scale) + shift
		}
		w := torch.Float32Tensor(u, p.Shape...)
		w.Name = p.Name
		state = append(state, w)
	}
	if err := m.Load(state); err != nil {
		t.Fatal(err)
	}
	return m
}

// parityBatch is a batch of a model's data.
func parityBatch(name string, key uint64, rows int, shape []int64) torch.Batch {
	n := int(elements(shape))
	batch := torch.Batch{XShape: append([]int64{int64(rows)}, shape...)}
	switch name {
	case "gpt": // random letters; the label of each is the next one
		letters := whole(key, 16, rows*(n+1))
		batch.YShape = batch.XShape
		for r := range rows {
			for i := range n {
				at := r*(n+1) + i
				batch.X = append(batch.X, float32(97+letters[at]))
				batch.Labels = append(batch.Labels, 97+letters[at+1])
			}
		}
	case "own":
		batch.X, batch.Targets = numbers(key, int64(rows*n)), numbers(key+500, int64(rows*2))
	case "resnet8", "resnet18": // images of 4x4 squares
		planes, side := rows*int(shape[0]), int(shape[1])
		small := numbers(key, int64(planes*16))
		for plane := range planes {
			for at := range side * side {
				y, x := at/side*4/side, at%side*4/side
				batch.X = append(batch.X, small[plane*16+y*4+x])
			}
		}
		batch.Labels = whole(key+500, 10, rows)
	default:
		batch.X, batch.Labels = numbers(key, int64(rows*n)), whole(key+500, 10, rows)
	}
	return batch
}

// numbers in [-1, 1) are the upper 24 bits of SplitMix64(key << 32 + i).
func numbers(key uint64, n int64) []float32 {
	out := make([]float32, n)
	for i := range out {
		z := (key<<32 + uint64(i) + 1) * 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		out[i] = float32(z>>40)/(1<<23) - 1
	}
	return out
}

// whole numbers from 0 to below choices.
func whole(key uint64, choices, n int) []int64 {
	out := make([]int64, n)
	for i, u := range numbers(key, int64(n)) {
		out[i] = int64((float64(u) + 1) * float64(choices) / 2)
	}
	return out
}

func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}
