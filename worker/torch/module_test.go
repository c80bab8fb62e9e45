package torch_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"tandem.dev/worker/torch"
)

// affine is y = x * weight + bias, with a bias that is a buffer.
var affine = torch.ModuleDef{
	Params:  []torch.ParamDef{{Name: "weight", Shape: []int64{3}, Init: torch.Uniform{Low: 2, High: 2}}},
	Buffers: []torch.ParamDef{{Name: "bias", Shape: []int64{3}, Init: torch.Uniform{Low: 1, High: 1}}},
	Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x * self.weight + self.bias\n",
}

func TestForward(t *testing.T) {
	m := compile(t, affine)
	out, err := m.Forward(torch.Float32Tensor([]float32{1, 2, 3, 4, 5, 6}, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(torch.Float32Tensor([]float32{3, 5, 7, 9, 11, 13}, 2, 3), out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if _, err := m.Forward(torch.Float32Tensor([]float32{1, 2}, 1, 2)); !errors.Is(err, torch.ErrModel) || strings.Contains(err.Error(), "\n") {
		t.Errorf("an input of the wrong width: %v, want ErrModel in one line", err)
	}
	if _, err := m.Forward(torch.Float32Tensor([]float32{1, 2}, 1, 3)); !errors.Is(err, torch.ErrShape) {
		t.Errorf("too few values: %v, want ErrShape", err)
	}
}

func TestStateGoesOutAndIn(t *testing.T) {
	m := compile(t, affine)
	s, err := m.State()
	if err != nil {
		t.Fatal(err)
	}
	weight, bias := torch.Float32Tensor([]float32{2, 2, 2}, 3), torch.Float32Tensor([]float32{1, 1, 1}, 3)
	weight.Name, bias.Name = "weight", "bias"
	if diff := cmp.Diff([]torch.Tensor{weight, bias}, s); diff != "" {
		t.Fatalf("state (-want +got):\n%s", diff)
	}
	other := torch.Float32Tensor([]float32{7, 8, 9}, 3)
	other.Name = "weight"
	if err := m.Load([]torch.Tensor{bias, other}); err != nil {
		t.Fatal(err)
	}
	if p, err := m.Parameters(); err != nil || !cmp.Equal(p, []torch.Tensor{other}) {
		t.Errorf("after Load: %v, %v", p, err)
	}
	wide := torch.Float32Tensor([]float32{1, 2, 3, 4}, 4)
	wide.Name = "weight"
	short := bias
	short.Data = short.Data[:4]
	whole := bias
	whole.DType = "I32"
	for name, bad := range map[string][]torch.Tensor{
		"missing": {bias}, "unknown": {weight, bias, {Name: "more", DType: "F32", Shape: []int64{0}}}, "shape": {wide, bias},
		"type": {weight, whole}, "twice": {weight, weight, bias}, "short": {weight, short}, "odd": {weight, bias, {Name: "x", DType: "Q4"}},
	} {
		if err := m.Load(bad); !errors.Is(err, torch.ErrStateMismatch) {
			t.Errorf("%s: %v, want ErrStateMismatch", name, err)
		}
	}
	if p, err := m.Parameters(); err != nil || !cmp.Equal(p, []torch.Tensor{other}) {
		t.Errorf("a refused Load changed the module: %v, %v", p, err)
	}
}

func TestWhatIsNoTorchScriptIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("import torch\n"), "zip": []byte("PK\x05\x06" + strings.Repeat("\x00", 18)), "noise": bytes.Repeat([]byte{0x80, 2, 99}, 1000),
	} {
		m, err := torch.LoadModule(b, torch.CPU)
		if !errors.Is(err, torch.ErrNotTorchScript) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want ErrNotTorchScript in one line", name, err)
		}
		if m != nil {
			m.Close()
		}
	}
}

func TestSourceThatDoesNotCompileIsRefused(t *testing.T) {
	_, err := torch.Compile(torch.ModuleDef{Class: "test.Bad", Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x + self.nothing\n"}, 1)
	if !errors.Is(err, torch.ErrModel) {
		t.Errorf("got %v, want ErrModel", err)
	}
}

func TestClosedModuleIsNoCrash(t *testing.T) {
	m := compile(t, affine)
	m.Close()
	m.Close()
	if _, err := m.Save(); !errors.Is(err, torch.ErrClosed) {
		t.Errorf("Save: %v", err)
	}
	if _, err := m.Forward(torch.Float32Tensor(nil, 0, 3)); !errors.Is(err, torch.ErrClosed) {
		t.Errorf("Forward: %v", err)
	}
}

func TestDevicesAndBuild(t *testing.T) {
	devices, err := torch.Devices()
	if err != nil {
		t.Fatal(err)
	}
	if d := devices[0]; d.Device != torch.CPU || d.Cores < 1 || d.MemoryBytes < 1<<20 {
		t.Errorf("the first device is %+v", d)
	}
	b, err := torch.Build()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.Torch, ".") || !b.Gloo || b.BLAS == "" || !(b.GFLOPS > 0) {
		t.Errorf("build %+v", b)
	}
	if _, err := torch.LoadModule(nil, torch.Device{CUDA: true, Index: 99}); err == nil {
		t.Error("cuda:99 is there")
	}
}

// What Tandem saves has to load where nothing of Tandem is.
func TestPlainLibtorchGivesTheSameAnswer(t *testing.T) {
	program := filepath.Join(t.TempDir(), "plain_load")
	flags := func(name string) []string {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	args := append([]string{"-std=c++17", "testdata/plain_load.cc", "-o", program}, flags("CGO_CXXFLAGS")...)
	args = append(append(args, flags("CGO_LDFLAGS")...), "-ltorch", "-ltorch_cpu", "-lc10")
	if out, err := exec.Command("g++", args...).CombinedOutput(); err != nil {
		t.Fatalf("g++ %v: %v\n%s", args, err, out)
	}
	m := build(t, cnn, 3)
	file, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.pt")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	in := torch.Float32Tensor(images(4, 1).X, 4, 1, 8, 8)
	if err := m.SetTraining(false); err != nil {
		t.Fatal(err)
	}
	want, err := m.Forward(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, path, "4,1,8,8")
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1") // as many as here
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in.Data), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	var got []float32
	for _, l := range lines[1:] {
		v, err := strconv.ParseFloat(l, 32)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, float32(v))
	}
	values, _ := torch.Float32s(want)
	if diff := cmp.Diff(values, got); diff != "" || lines[0] != "4,10" {
		t.Errorf("shape %s, values (-here +plain):\n%s", lines[0], diff)
	}
}

// A user's own file is trained as it was loaded: parameters that need gradients still do.
func TestLoadedFileIsTrained(t *testing.T) {
	file, err := build(t, mlp, 1).Save()
	if err != nil {
		t.Fatal(err)
	}
	m, err := torch.LoadModule(file, torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	config := torch.TrainerConfig{Device: device, Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)}
	config.Module = m
	loaded := newTrainer(t, config)
	m.Close() // the trainer has its own hold on it
	config.Module = build(t, mlp, 1)
	built := newTrainer(t, config)
	for s := range 3 {
		in := torch.StepInput{Batch: images(4, uint64(s)), LossScale: 0.25, LR: 0.1}
		if a, b := step(t, loaded, in), step(t, built, in); a != b {
			t.Errorf("step %d: %+v loaded, %+v built", s, a, b)
		}
	}
	if diff := cmp.Diff(state(t, built), state(t, loaded)); diff != "" {
		t.Errorf("state (-built +loaded):\n%s", diff)
	}
}

func TestForwardFromSeveralGoroutines(t *testing.T) {
	m := build(t, cnn, 1)
	if err := m.SetTraining(false); err != nil {
		t.Fatal(err)
	}
	in := torch.Float32Tensor(images(2, 1).X, 2, 1, 8, 8)
	want, err := m.Forward(in)
	if err != nil {
		t.Fatal(err)
	}
	var all errgroup.Group
	for range 4 {
		all.Go(func() error {
			for range 20 {
				got, err := m.Forward(in)
				if err != nil {
					return err
				}
				if !cmp.Equal(want, got) {
					return errors.New("another output")
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}
