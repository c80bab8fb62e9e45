package torch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// device is where the tests train: on the CPU, or the first CUDA device with TANDEM_TEST_CUDA=1 (make gpu).
var device = torch.CPU

func TestMain(m *testing.M) {
	if os.Getenv("TANDEM_TEST_CUDA") != "" {
		device = torch.Device{CUDA: true}
	}
	if err := torch.Init(torch.Options{Threads: 1, Deterministic: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if url := os.Getenv(peerVariable); url != "" {
		fmt.Fprintln(os.Stderr, peerMain(url))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

type modelSpec = tandemv1.ModelSpec

var (
	mlp = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{32, 16}}}}
	cnn = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Cnn{Cnn: &tandemv1.CnnSpec{Channels: []int32{4, 8}, Hidden: []int32{16}, Norm: "group"}}}
)

// newDropoutSpec is a model whose steps depend on the seed.
func newDropoutSpec() *tandemv1.ModelSpec {
	return &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{32}, Dropout: 0.3, Activation: "gelu"}}}
}

// build makes a model for images [1, 8, 8] and ten classes.
func build(t testing.TB, spec *tandemv1.ModelSpec, seed int64) *torch.Module {
	t.Helper()
	m, err := model.Build(spec, []int64{1, 8, 8}, 10, seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// named gives a definition its class.
func named(def torch.ModuleDef) torch.ModuleDef {
	def.Class = "test.Model"
	return def
}

// compile makes a module of one class from source.
func compile(t testing.TB, def torch.ModuleDef) *torch.Module {
	t.Helper()
	m, err := torch.Compile(named(def), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func newTrainer(t testing.TB, c torch.TrainerConfig) *torch.Trainer {
	t.Helper()
	tr, err := torch.NewTrainer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// adamOf is Adam or AdamW with the usual numbers.
func adamOf(kind torch.OptimizerKind) torch.OptimizerConfig {
	return torch.OptimizerConfig{Kind: kind, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
}

// images makes n labelled random images [1, 8, 8].
func images(n int, seed uint64) torch.Batch {
	r := rand.New(rand.NewPCG(seed, 0))
	b := torch.Batch{XShape: []int64{int64(n), 1, 8, 8}, Labels: make([]int64, n)}
	for range n * 64 {
		b.X = append(b.X, float32(r.NormFloat64()))
	}
	for i := range b.Labels {
		b.Labels[i] = r.Int64N(10)
	}
	return b
}

// rows is a share of a batch of images.
func rows(b torch.Batch, from, to int) torch.Batch {
	return torch.Batch{X: b.X[from*64 : to*64], XShape: []int64{int64(to - from), 1, 8, 8}, Labels: b.Labels[from:to]}
}

// step does a step and leaves out how long it took.
func step(t testing.TB, tr *torch.Trainer, in torch.StepInput) torch.StepResult {
	t.Helper()
	r, err := tr.Step(in)
	if err != nil {
		t.Fatal(err)
	}
	r.Forward, r.Backward, r.Exposed, r.Optimizer = 0, 0, 0, 0 // steps are compared, and no time is like another
	return r
}

func state(t testing.TB, tr *torch.Trainer) []torch.Tensor {
	t.Helper()
	s, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// furthest is the largest difference between the float32 tensors of two states, relative to 1 plus their size.
func furthest(t testing.TB, a, b []torch.Tensor) float64 {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("states of %d and %d tensors", len(a), len(b))
	}
	worst := 0.0
	for i := range a {
		if a[i].Name != b[i].Name {
			t.Fatalf("tensor %d is %s and %s", i, a[i].Name, b[i].Name)
		}
		if a[i].DType != "F32" {
			continue
		}
		x, _ := torch.Float32s(a[i])
		y, _ := torch.Float32s(b[i])
		for j := range x {
			d := math.Abs(float64(x[j]-y[j])) / (1 + math.Abs(float64(x[j])))
			if math.IsNaN(d) {
				t.Fatalf("%s[%d] is %g and %g", a[i].Name, j, x[j], y[j])
			}
			worst = max(worst, d)
		}
	}
	return worst
}
