package model_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

func mlpSpec(s *tandemv1.MlpSpec) *tandemv1.ModelSpec {
	return &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: s}}
}

func cnnSpec(s *tandemv1.CnnSpec) *tandemv1.ModelSpec {
	return &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Cnn{Cnn: s}}
}

// shapes lists every parameter of a definition with its shape, as a state dict would.
func shapes(def torch.ModuleDef, path string, into map[string][]int64) map[string][]int64 {
	for _, p := range def.Params {
		into[path+p.Name] = p.Shape
	}
	for _, c := range def.Children {
		shapes(c.Module, path+c.Name+".", into)
	}
	return into
}

func TestParametersAreNamedAsInPyTorch(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  *tandemv1.ModelSpec
		input []int64
		want  map[string][]int64
	}{
		// Sequential(Linear, ReLU, Linear)
		{"mlp", mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{5}}), []int64{2, 3}, map[string][]int64{
			"net.0.weight": {5, 6}, "net.0.bias": {5}, "net.2.weight": {4, 5}, "net.2.bias": {4}}},
		// Sequential(Linear, ReLU, Dropout, Linear)
		{"mlp with dropout", mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{5}, Dropout: 0.1}), []int64{6}, map[string][]int64{
			"net.0.weight": {5, 6}, "net.0.bias": {5}, "net.3.weight": {4, 5}, "net.3.bias": {4}}},
		{"linear", mlpSpec(&tandemv1.MlpSpec{}), []int64{6}, map[string][]int64{"net.0.weight": {4, 6}, "net.0.bias": {4}}},
		// features: Conv2d, ReLU, MaxPool2d, Conv2d, ReLU (a side of 1 is not pooled again)
		{"cnn", cnnSpec(&tandemv1.CnnSpec{Channels: []int32{8, 16}, Hidden: []int32{7}}), []int64{3, 3, 2}, map[string][]int64{
			"features.0.weight": {8, 3, 3, 3}, "features.0.bias": {8}, "features.3.weight": {16, 8, 3, 3}, "features.3.bias": {16},
			"classifier.0.weight": {7, 16}, "classifier.0.bias": {7}, "classifier.2.weight": {4, 7}, "classifier.2.bias": {4}}},
		// features: Conv2d, GroupNorm, Tanh; classifier: Dropout, Linear
		{"cnn of grey images", cnnSpec(&tandemv1.CnnSpec{Channels: []int32{6}, Kernel: 5, Pool: 1, Norm: "group", Dropout: 0.5, Activation: "tanh"}), []int64{4, 4}, map[string][]int64{
			"features.0.weight": {6, 1, 5, 5}, "features.0.bias": {6}, "features.1.weight": {6}, "features.1.bias": {6},
			"classifier.1.weight": {4, 96}, "classifier.1.bias": {4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			def, err := model.Define(c.spec, c.input, 4)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, shapes(def, "", map[string][]int64{})); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		spec    *tandemv1.ModelSpec
		input   []int64
		outputs int
		says    string
	}{
		{"nothing", &tandemv1.ModelSpec{}, []int64{4}, 2, "no architecture"},
		{"no outputs", mlpSpec(&tandemv1.MlpSpec{}), []int64{4}, 0, "outputs"},
		{"no input", mlpSpec(&tandemv1.MlpSpec{}), nil, 2, "shape"},
		{"empty input", mlpSpec(&tandemv1.MlpSpec{}), []int64{0}, 2, "shape"},
		{"activation", mlpSpec(&tandemv1.MlpSpec{Activation: "sine"}), []int64{4}, 2, "relu, gelu or tanh"},
		{"width", mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{8, 0}}), []int64{4}, 2, "hidden[1]"},
		{"dropout", mlpSpec(&tandemv1.MlpSpec{Dropout: 1}), []int64{4}, 2, "dropout"},
		{"huge", mlpSpec(&tandemv1.MlpSpec{Hidden: []int32{1 << 30, 1 << 30}}), []int64{4}, 2, "parameters"},
		{"huge rows", mlpSpec(&tandemv1.MlpSpec{}), []int64{1 << 30, 1 << 30, 1 << 30}, 2, "too large"},
		{"no channels", cnnSpec(&tandemv1.CnnSpec{}), []int64{1, 8, 8}, 2, "channels"},
		{"even kernel", cnnSpec(&tandemv1.CnnSpec{Channels: []int32{8}, Kernel: 4}), []int64{1, 8, 8}, 2, "odd"},
		{"negative pool", cnnSpec(&tandemv1.CnnSpec{Channels: []int32{8}, Pool: -1}), []int64{1, 8, 8}, 2, "pool"},
		{"norm", cnnSpec(&tandemv1.CnnSpec{Channels: []int32{8}, Norm: "batch"}), []int64{1, 8, 8}, 2, "none or group"},
		{"flat rows", cnnSpec(&tandemv1.CnnSpec{Channels: []int32{8}}), []int64{64}, 2, "[height, width]"},
		{"torchscript", &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Torchscript{}}, []int64{4}, 2, "loaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := model.Define(c.spec, c.input, c.outputs)
			if !errors.Is(err, model.ErrSpec) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want ErrSpec with %q", err, c.says)
			}
		})
	}
}
