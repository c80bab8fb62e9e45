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

func TestEveryArchitectureRunsAfterSaveAndLoad(t *testing.T) {
	for name, spec := range map[string]*tandemv1.ModelSpec{
		"mlp relu":  mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{16, 8}, Dropout: 0.25}),
		"mlp gelu":  mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{16}, Activation: "gelu"}),
		"mlp tanh":  mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{16}, Activation: "tanh"}),
		"cnn":       cnnSpec(&tandemv1.CnnSpec{Channels: []int32{4, 8}, Hidden: []int32{12}, Dropout: 0.5}),
		"cnn group": cnnSpec(&tandemv1.CnnSpec{Channels: []int32{6}, Norm: "group", Kernel: 5, Pool: 3}),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := model.Build(spec, []int64{2, 6, 6}, 5, 7)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.SetTraining(false); err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 3*2*6*6)
			for i := range x {
				x[i] = float32(math.Sin(float64(i)))
			}
			in := torch.Float32Tensor(x, 3, 2, 6, 6)
			want, err := m.Forward(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int64{3, 5}, want.Shape); diff != "" {
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
