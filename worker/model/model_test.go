package model_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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

func resnetSpec(s *tandemv1.ResnetSpec) *tandemv1.ModelSpec {
	return &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Resnet{Resnet: s}}
}

func gptSpec(s *tandemv1.GptSpec) *tandemv1.ModelSpec {
	return &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Gpt{Gpt: s}}
}

// shapes lists every parameter and buffer of a definition with its shape, as a state dict would.
func shapes(def torch.ModuleDef, path string, into map[string][]int64) map[string][]int64 {
	for _, p := range append(slices.Clone(def.Params), def.Buffers...) {
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

// normed adds the tensors of torch.nn.BatchNorm2d.
func normed(into map[string][]int64, name string, channels int64) {
	for _, n := range []string{"weight", "bias", "running_mean", "running_var"} {
		into[name+"."+n] = []int64{channels}
	}
	into[name+".num_batches_tracked"] = nil
}

func TestResNet18IsNamedAsInTorchvision(t *testing.T) {
	want := map[string][]int64{"conv1.weight": {64, 3, 7, 7}, "fc.weight": {1000, 512}, "fc.bias": {1000}}
	normed(want, "bn1", 64)
	in := int64(64)
	for i, out := range []int64{64, 128, 256, 512} {
		for j, from := range []int64{in, out} {
			block := fmt.Sprintf("layer%d.%d.", i+1, j)
			want[block+"conv1.weight"], want[block+"conv2.weight"] = []int64{out, from, 3, 3}, []int64{out, out, 3, 3}
			normed(want, block+"bn1", out)
			normed(want, block+"bn2", out)
			if from != out {
				want[block+"downsample.0.weight"] = []int64{out, from, 1, 1}
				normed(want, block+"downsample.1", out)
			}
		}
		in = out
	}
	if len(want) != 122 {
		t.Fatalf("torchvision's state dict has 122 tensors, this list %d", len(want))
	}
	for _, c := range []struct {
		spec *tandemv1.ResnetSpec
		side int64
		stem []int64
	}{
		{&tandemv1.ResnetSpec{Depth: 18}, 224, []int64{64, 3, 7, 7}},
		{&tandemv1.ResnetSpec{Depth: 18}, 64, []int64{64, 3, 3, 3}},
		{&tandemv1.ResnetSpec{Depth: 18, Stem: "small"}, 224, []int64{64, 3, 3, 3}},
		{&tandemv1.ResnetSpec{Depth: 18, Stem: "imagenet"}, 32, []int64{64, 3, 7, 7}},
	} {
		def, err := model.Define(resnetSpec(c.spec), []int64{3, c.side, c.side}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(want)
		want["conv1.weight"] = c.stem
		if diff := cmp.Diff(want, shapes(def, "", map[string][]int64{})); diff != "" {
			t.Errorf("%v at %d (-want +got):\n%s", c.spec, c.side, diff)
		}
	}
}

func TestResNet8IsNamedAsItsPeer(t *testing.T) {
	want := map[string][]int64{"conv.weight": {16, 3, 3, 3}, "fc.weight": {10, 64}, "fc.bias": {10}}
	normed(want, "bn", 16)
	in := int64(16)
	for i, out := range []int64{16, 32, 64} {
		block := fmt.Sprintf("blocks.%d.", i)
		want[block+"conv1.weight"], want[block+"conv2.weight"] = []int64{out, in, 3, 3}, []int64{out, out, 3, 3}
		normed(want, block+"bn1", out)
		normed(want, block+"bn2", out)
		if in != out {
			want[block+"shortcut.0.weight"] = []int64{out, in, 1, 1}
			normed(want, block+"shortcut.1", out)
		}
		in = out
	}
	def, err := model.Define(resnetSpec(&tandemv1.ResnetSpec{Depth: 8}), []int64{3, 32, 32}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, shapes(def, "", map[string][]int64{})); diff != "" {
		t.Errorf("parameters and buffers (-want +got):\n%s", diff)
	}
}

func TestGptIsNamedAsNanoGpt(t *testing.T) {
	want := map[string][]int64{"wte.weight": {256, 12}, "wpe.weight": {16, 12}, "ln_f.weight": {12}, "ln_f.bias": {12}, "head.weight": {256, 12}}
	for i := range 2 {
		for name, shape := range map[string][]int64{
			"ln_1.weight": {12}, "ln_1.bias": {12}, "attn.c_attn.weight": {36, 12}, "attn.c_attn.bias": {36}, "attn.c_proj.weight": {12, 12}, "attn.c_proj.bias": {12},
			"ln_2.weight": {12}, "ln_2.bias": {12}, "mlp.c_fc.weight": {48, 12}, "mlp.c_fc.bias": {48}, "mlp.c_proj.weight": {12, 48}, "mlp.c_proj.bias": {12},
		} {
			want[fmt.Sprintf("blocks.%d.%s", i, name)] = shape
		}
	}
	def, err := model.Define(gptSpec(&tandemv1.GptSpec{Layers: 2, Width: 12, Heads: 3}), []int64{16}, 256)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, shapes(def, "", map[string][]int64{})); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
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
		{"depth", resnetSpec(&tandemv1.ResnetSpec{Depth: 50}), []int64{3, 32, 32}, 2, "depth is 50"},
		{"stem", resnetSpec(&tandemv1.ResnetSpec{Depth: 18, Stem: "large"}), []int64{3, 32, 32}, 2, "small or imagenet"},
		{"stem of depth 8", resnetSpec(&tandemv1.ResnetSpec{Depth: 8, Stem: "imagenet"}), []int64{3, 32, 32}, 2, "depth 18"},
		{"resnet norm", resnetSpec(&tandemv1.ResnetSpec{Depth: 8, Norm: "none"}), []int64{3, 32, 32}, 2, "batch or group"},
		{"grey resnet", resnetSpec(&tandemv1.ResnetSpec{Depth: 8}), []int64{8, 8}, 2, "[channels, height, width]"},
		{"heads", gptSpec(&tandemv1.GptSpec{Width: 10, Heads: 3}), []int64{16}, 256, "heads is 3"},
		{"layers", gptSpec(&tandemv1.GptSpec{Layers: -1}), []int64{16}, 256, "layers is -1"},
		{"context", gptSpec(&tandemv1.GptSpec{Context: 8}), []int64{16}, 256, "rows have 16 bytes"},
		{"images for gpt", gptSpec(&tandemv1.GptSpec{}), []int64{1, 8, 8}, 256, "[context]"},
		{"gpt dropout", gptSpec(&tandemv1.GptSpec{Dropout: 1}), []int64{16}, 256, "dropout"},
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
