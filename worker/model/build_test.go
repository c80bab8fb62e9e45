//go:build cgo

package model_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// inputs makes n rows: bytes 0 to 4 for rows of one dimension, waves for others.
func inputs(n int64, shape []int64) torch.Tensor {
	size := n
	for _, d := range shape {
		size *= d
	}
	x := make([]float32, size)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
		if len(shape) == 1 {
			x[i] = float32(i * i % 5)
		}
	}
	return torch.Float32Tensor(x, append([]int64{n}, shape...)...)
}

func TestEveryArchitectureRunsAfterSaveAndLoad(t *testing.T) {
	image, text := []int64{2, 6, 6}, []int64{9}
	for name, c := range map[string]struct {
		spec  *tandemv1.ModelSpec
		input []int64
		want  []int64
	}{
		"mlp relu":          {mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{16, 8}, Dropout: 0.25}), image, []int64{3, 5}},
		"mlp gelu":          {mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{16}, Activation: "gelu"}), image, []int64{3, 5}},
		"mlp tanh":          {mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{16}, Activation: "tanh"}), image, []int64{3, 5}},
		"cnn":               {cnnSpec(&tandemv1.CnnSpec{Channels: []int32{4, 8}, Hidden: []int32{12}, Dropout: 0.5}), image, []int64{3, 5}},
		"cnn group":         {cnnSpec(&tandemv1.CnnSpec{Channels: []int32{6}, Norm: "group", Kernel: 5, Pool: 3}), image, []int64{3, 5}},
		"resnet8":           {resnetSpec(&tandemv1.ResnetSpec{Depth: 8}), image, []int64{3, 5}},
		"resnet8 group":     {resnetSpec(&tandemv1.ResnetSpec{Depth: 8, Norm: "group"}), image, []int64{3, 5}},
		"resnet18":          {resnetSpec(&tandemv1.ResnetSpec{Depth: 18}), image, []int64{3, 5}},
		"resnet18 imagenet": {resnetSpec(&tandemv1.ResnetSpec{Depth: 18, Stem: "imagenet"}), []int64{2, 40, 40}, []int64{3, 5}},
		"gpt":               {gptSpec(&tandemv1.GptSpec{Layers: 2, Width: 12, Heads: 3, Dropout: 0.1}), text, []int64{3, 5, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := model.Build(c.spec, c.input, 5, 7)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			in := inputs(3, c.input)
			for range 3 { // moves the buffers of those that have some
				if _, err := m.Forward(in); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.SetTraining(false); err != nil {
				t.Fatal(err)
			}
			want, err := m.Forward(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, want.Shape); diff != "" {
				t.Fatalf("output shape (-want +got):\n%s", diff)
			}
			file, err := m.Save()
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := torch.LoadModule(file, torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			defer loaded.Close()
			got, err := loaded.Forward(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("output after load (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeedDecidesTheParameters(t *testing.T) {
	build := func(seed int64, hidden ...int32) []torch.Tensor {
		m, err := model.Build(mlpSpec(&tandemv1.MlpSpec{Hidden: hidden}), []int64{100}, 3, seed)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		p, err := m.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := build(1, 50)
	if diff := cmp.Diff(first, build(1, 50)); diff != "" {
		t.Errorf("the same seed gives other parameters:\n%s", diff)
	}
	if cmp.Equal(first, build(2, 50)) {
		t.Error("another seed gives the same parameters")
	}
	if deeper := build(1, 50, 20); !cmp.Equal(first[0], deeper[0]) {
		t.Error("a further layer changes the first layer's start")
	}
	// PyTorch's Linear(100, 50) draws from U(-1/sqrt(100), 1/sqrt(100)).
	w, err := torch.Float32s(first[0])
	if err != nil {
		t.Fatal(err)
	}
	var sum, squares, largest float64
	for _, v := range w {
		sum, squares, largest = sum+float64(v), squares+float64(v)*float64(v), max(largest, math.Abs(float64(v)))
	}
	n := float64(len(w))
	if largest > 0.1 || largest < 0.0995 || math.Abs(sum/n) > 0.003 || math.Abs(math.Sqrt(squares/n)-0.1/math.Sqrt(3)) > 0.001 {
		t.Errorf("largest %g mean %g rms %g, want 0.1, 0 and %g", largest, sum/n, math.Sqrt(squares/n), 0.1/math.Sqrt(3))
	}
}
