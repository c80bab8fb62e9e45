package torch_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/worker/torch"
)

// scale is y = x * w, element by element: gradients that one can write down.
var scale = torch.ModuleDef{
	Params:  []torch.ParamDef{{Name: "w", Shape: []int64{5}, Init: torch.Uniform{Low: -1, High: 1}}},
	Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x * self.w\n",
}

// oracle is the optimizers in float64, written from PyTorch's documentation.
type oracle struct {
	config   torch.OptimizerConfig
	clip     float64
	w, m, v  []float64
	steps    int
	lastNorm float64
}

func (o *oracle) step(grad []float64, lr float64) {
	o.steps++
	sum := 0.0
	for _, g := range grad {
		sum += g * g
	}
	o.lastNorm = math.Sqrt(sum)
	shrink := 1.0
	if o.clip > 0 {
		shrink = min(1, o.clip/(o.lastNorm+1e-6))
	}
	c := o.config
	for i, g := range grad {
		g *= shrink
		if c.Kind == torch.AdamW {
			o.w[i] -= lr * c.WeightDecay * o.w[i]
		} else {
			g += c.WeightDecay * o.w[i]
		}
		if c.Kind == torch.SGD {
			o.m[i] = c.Momentum*o.m[i] + g
			if c.Nesterov {
				o.w[i] -= lr * (g + c.Momentum*o.m[i])
			} else {
				o.w[i] -= lr * o.m[i]
			}
			continue
		}
		o.m[i] = c.Beta1*o.m[i] + (1-c.Beta1)*g
		o.v[i] = c.Beta2*o.v[i] + (1-c.Beta2)*g*g
		m := o.m[i] / (1 - math.Pow(c.Beta1, float64(o.steps)))
		v := o.v[i] / (1 - math.Pow(c.Beta2, float64(o.steps)))
		o.w[i] -= lr * m / (math.Sqrt(v) + c.Epsilon)
	}
}

var optimizers = []torch.OptimizerConfig{
	{Kind: torch.SGD},
	{Kind: torch.SGD, WeightDecay: 0.1},
	{Kind: torch.SGD, Momentum: 0.9, WeightDecay: 0.01},
	{Kind: torch.SGD, Momentum: 0.9, Nesterov: true},
	{Kind: torch.Adam, Beta1: 0.8, Beta2: 0.95, Epsilon: 1e-6, WeightDecay: 0.1},
	{Kind: torch.AdamW, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.1},
}

func TestOptimizersAgreeWithTheirDefinition(t *testing.T) {
	for _, o := range optimizers {
		for _, clip := range []float64{0, 0.5} {
			for _, foreach := range []bool{false, true} {
				t.Run(fmt.Sprintf("%+v clip=%g foreach=%t", o, clip, foreach), func(t *testing.T) {
					testOptimizer(t, o, clip, foreach)
				})
			}
		}
	}
}

func testOptimizer(t *testing.T, o torch.OptimizerConfig, clip float64, foreach bool) {
	m := compile(t, scale)
	c := torch.TrainerConfig{Device: device, Module: m, Loss: torch.MSE, Optimizer: o, ClipNorm: clip}
	if foreach {
		c = c.WithForeach()
	}
	tr := newTrainer(t, c)
	want := oracle{config: o, clip: clip, w: make([]float64, 5), m: make([]float64, 5), v: make([]float64, 5)}
	start, _ := torch.Float32s(state(t, tr)[0])
	for i, v := range start {
		want.w[i] = float64(v)
	}
	for s := range 10 {
		x, y := make([]float32, 10), make([]float32, 10)
		grad, loss := make([]float64, 5), 0.0
		for i := range x {
			x[i], y[i] = float32(math.Cos(float64(s+i))), float32(i%3)
			d := float64(x[i])*want.w[i%5] - float64(y[i])
			loss += d * d / 5                            // the mean within a row, summed over rows
			grad[i%5] += 2 * d / 5 * float64(x[i]) * 0.5 // LossScale
		}
		lr := 0.05 / float64(s+1)
		r := step(t, tr, torch.StepInput{Batch: torch.Batch{X: x, XShape: []int64{2, 5}, Targets: y}, LossScale: 0.5, LR: lr})
		want.step(grad, lr)
		if math.Abs(r.LossSum-loss) > 1e-5 || math.Abs(r.GradNorm-want.lastNorm) > 1e-5 || !r.Finite || r.Rows != 2 {
			t.Fatalf("step %d: %+v, want loss %g and norm %g", s, r, loss, want.lastNorm)
		}
		got, _ := torch.Float32s(state(t, tr)[0])
		for i := range got {
			if math.Abs(float64(got[i])-want.w[i]) > 1e-5 {
				t.Fatalf("step %d: w[%d] is %g, want %g", s, i, got[i], want.w[i])
			}
		}
	}
}

func TestCrossEntropy(t *testing.T) {
	// The outputs are the inputs plus a bias that starts at zero.
	m := compile(t, torch.ModuleDef{
		Params:  []torch.ParamDef{{Name: "b", Shape: []int64{3}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x + self.b\n",
	})
	tr := newTrainer(t, torch.TrainerConfig{Device: device, Module: m, Loss: torch.CrossEntropy, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}})
	batch := torch.Batch{X: []float32{1, 2, 3, 0, 5, 1}, XShape: []int64{2, 3}, Labels: []int64{2, 0}}
	loss, grad := 0.0, make([]float64, 3)
	for row, label := range batch.Labels {
		sum := 0.0
		for c := range 3 {
			sum += math.Exp(float64(batch.X[3*row+c]))
		}
		loss += math.Log(sum) - float64(batch.X[3*row+int(label)])
		for c := range 3 {
			grad[c] += math.Exp(float64(batch.X[3*row+c])) / sum
		}
		grad[label]--
	}
	e, err := tr.Evaluate(batch)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(e.LossSum-loss) > 1e-5 || e.Rows != 2 || e.Correct != 1 || e.Elements != 2 {
		t.Errorf("evaluation %+v, want loss %g and 1 of 2 correct", e, loss)
	}
	r := step(t, tr, torch.StepInput{Batch: batch, LossScale: 1, LR: 1})
	if math.Abs(r.LossSum-loss) > 1e-5 {
		t.Errorf("loss %g, want %g", r.LossSum, loss)
	}
	b, _ := torch.Float32s(state(t, tr)[0])
	for c := range b {
		if math.Abs(float64(b[c])+grad[c]) > 1e-6 {
			t.Errorf("b[%d] is %g after one step, want %g", c, b[c], -grad[c])
		}
	}
}

func TestMeanSquaredErrorSums(t *testing.T) {
	m := compile(t, torch.ModuleDef{
		Params:  []torch.ParamDef{{Name: "b", Shape: []int64{1}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x + self.b\n",
	})
	tr := newTrainer(t, torch.TrainerConfig{Device: device, Module: m, Loss: torch.MSE, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}})
	want := torch.EvalResult{LossSum: 2.5, Rows: 2, Elements: 4, SquaredErrorSum: 5, AbsErrorSum: 3}
	got, err := tr.Evaluate(torch.Batch{X: []float32{1, 2, 3, 4}, XShape: []int64{2, 2}, Targets: []float32{1, 0, 3, 5}})
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	// An output column [n, 1] fits targets [n].
	want = torch.EvalResult{LossSum: 5, Rows: 2, Elements: 2, SquaredErrorSum: 5, AbsErrorSum: 3}
	got, err = tr.Evaluate(torch.Batch{X: []float32{1, 2}, XShape: []int64{2, 1}, Targets: []float32{2, 0}})
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	sgd := torch.OptimizerConfig{Kind: torch.SGD}
	classifier := newTrainer(t, torch.TrainerConfig{Device: device, Module: build(t, mlp, 1), Loss: torch.CrossEntropy, Optimizer: sgd})
	regressor := newTrainer(t, torch.TrainerConfig{Device: device, Module: compile(t, scale), Loss: torch.MSE, Optimizer: sgd})
	flat := newTrainer(t, torch.TrainerConfig{Device: device, Loss: torch.CrossEntropy, Optimizer: sgd, Module: compile(t, torch.ModuleDef{
		Params:  []torch.ParamDef{{Name: "w", Shape: []int64{1}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return torch.flatten(x * self.w)\n",
	})})
	pair := newTrainer(t, torch.TrainerConfig{Device: device, Loss: torch.CrossEntropy, Optimizer: sgd, Module: compile(t, torch.ModuleDef{
		Params:  []torch.ParamDef{{Name: "w", Shape: []int64{1}}},
		Forward: "def forward(self, x: Tensor):\n    return x, self.w\n",
	})})
	label := images(4, 1)
	label.Labels[2] = 10
	negative := images(4, 1)
	negative.Labels[0] = -100 // which PyTorch silently leaves out
	for _, c := range []struct {
		name    string
		trainer *torch.Trainer
		batch   torch.Batch
		want    error
		says    string
	}{
		{"label too large", classifier, label, torch.ErrLabel, "label 10 is out of range: the model has 10 outputs"},
		{"label negative", classifier, negative, torch.ErrLabel, "label -100"},
		{"input too wide", classifier, torch.Batch{X: make([]float32, 65), XShape: []int64{1, 65}, Labels: []int64{1}}, torch.ErrModel, "1x65 and 64x32"},
		{"shape of too much", classifier, torch.Batch{X: make([]float32, 64), XShape: []int64{2, 64}, Labels: []int64{1, 1}}, torch.ErrShape, "128"},
		{"labels missing", classifier, torch.Batch{X: make([]float32, 128), XShape: []int64{2, 64}, Labels: []int64{1}}, torch.ErrShape, "labels"},
		{"targets for classes", classifier, torch.Batch{X: make([]float32, 64), XShape: []int64{1, 64}, Targets: []float32{1}}, torch.ErrShape, "targets"},
		{"labels for values", regressor, torch.Batch{X: make([]float32, 5), XShape: []int64{1, 5}, Labels: []int64{1}}, torch.ErrShape, "labels"},
		{"targets that broadcast", regressor, torch.Batch{X: make([]float32, 10), XShape: []int64{2, 5}, Targets: []float32{1, 2}}, torch.ErrShape, "[2, 5]"},
		{"no classes", flat, torch.Batch{X: make([]float32, 6), XShape: []int64{2, 3}, Labels: []int64{1, 1}}, torch.ErrShape, "returned shape [6], expected [2, classes]"},
		{"two outputs", pair, torch.Batch{X: make([]float32, 6), XShape: []int64{2, 3}, Labels: []int64{1, 1}}, torch.ErrShape, "Tuple"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := state(t, c.trainer)
			if _, err := c.trainer.Step(torch.StepInput{Batch: c.batch, LossScale: 1, LR: 1}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Step: %v, want %v with %q", err, c.want, c.says)
			}
			if _, err := c.trainer.Evaluate(c.batch); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Evaluate: %v, want %v with %q", err, c.want, c.says)
			}
			if diff := cmp.Diff(before, state(t, c.trainer)); diff != "" {
				t.Errorf("the state changed:\n%s", diff)
			}
		})
	}
}

func TestModelsThatCannotBeTrained(t *testing.T) {
	sgd := torch.OptimizerConfig{Kind: torch.SGD}
	none := compile(t, torch.ModuleDef{Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x\n"})
	if _, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: none, Loss: torch.MSE, Optimizer: sgd}); !errors.Is(err, torch.ErrModel) {
		t.Errorf("a model without parameters: %v", err)
	}
	unused := newTrainer(t, torch.TrainerConfig{Device: device, Loss: torch.MSE, Optimizer: sgd, Module: compile(t, torch.ModuleDef{
		Params:  []torch.ParamDef{{Name: "w", Shape: []int64{1}}, {Name: "spare", Shape: []int64{1}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x * self.w\n",
	})})
	_, err := unused.Step(torch.StepInput{Batch: torch.Batch{X: []float32{1}, XShape: []int64{1}, Targets: []float32{1}}, LossScale: 1, LR: 1})
	if !errors.Is(err, torch.ErrModel) || !strings.Contains(err.Error(), "parameter spare") {
		t.Errorf("an unused parameter: %v", err)
	}
	for _, o := range []torch.OptimizerConfig{{}, {Kind: "lion"}, {Kind: torch.SGD, Momentum: 1}, {Kind: torch.SGD, Nesterov: true},
		{Kind: torch.Adam, Beta1: 2, Beta2: 0.9, Epsilon: 1}, {Kind: torch.Adam}, {Kind: torch.Adam, WeightDecay: math.NaN(), Epsilon: 1}} {
		if _, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: build(t, mlp, 1), Loss: torch.MSE, Optimizer: o}); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// counter is scale with a buffer that forward changes: by the batch's mean in
// place, and by putting another tensor in its place.
var counter = torch.ModuleDef{
	Params:  scale.Params,
	Buffers: []torch.ParamDef{{Name: "mean", Shape: []int64{5}}, {Name: "calls", Shape: []int64{1}}},
	Forward: "def forward(self, x: Tensor) -> Tensor:\n" +
		"    if self.training:\n        self.mean.add_(torch.mean(x, [0]))\n        self.calls = self.calls + 1\n" +
		"    return x * self.w\n",
}

func TestNaNChangesNothing(t *testing.T) {
	for _, o := range optimizers {
		tr := newTrainer(t, torch.TrainerConfig{Device: device, Module: compile(t, counter), Loss: torch.MSE, Optimizer: o})
		batch := func(first float32) torch.StepInput {
			return torch.StepInput{Batch: torch.Batch{X: []float32{first, 2, 3, 4, 5}, XShape: []int64{1, 5}, Targets: make([]float32, 5)}, LossScale: 1, LR: 0.1}
		}
		if r := step(t, tr, batch(1)); !r.Finite {
			t.Fatal("a good step is not finite")
		}
		before := state(t, tr)
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			if r := step(t, tr, batch(float32(bad))); r.Finite {
				t.Errorf("%v: a step with %g is finite", o.Kind, bad)
			}
			if diff := cmp.Diff(before, state(t, tr)); diff != "" {
				t.Errorf("%v: a step with %g changed the state:\n%s", o.Kind, bad, diff)
			}
		}
		if r := step(t, tr, batch(1)); !r.Finite || cmp.Equal(before, state(t, tr)) {
			t.Errorf("%v: training does not go on after a refused step", o.Kind)
		}
	}
}

// The square of a gradient may be too large for a float32, as long as the gradient is not.
func TestNormOfLargeGradients(t *testing.T) {
	const n = 5000 // more than a block, and a tail
	m := compile(t, torch.ModuleDef{
		Params:  []torch.ParamDef{{Name: "w", Shape: []int64{n}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x * self.w\n",
	})
	tr := newTrainer(t, torch.TrainerConfig{Device: device, Module: m, Loss: torch.MSE, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}, ClipNorm: 1})
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = 1, 1
	}
	for _, scale := range []float64{1, 1e19, 1e25, 1e38} {
		before := state(t, tr)
		w, _ := torch.Float32s(before[0])
		want := 0.0
		for i := range w {
			g := 2. / n * float64(w[i]-y[i]) * scale
			want += g * g
		}
		want = math.Sqrt(want)
		r := step(t, tr, torch.StepInput{Batch: torch.Batch{X: x, XShape: []int64{1, n}, Targets: y}, LossScale: scale, LR: 0.5})
		if !r.Finite || math.Abs(r.GradNorm-want) > 1e-4*want {
			t.Errorf("scale %g: %+v, want the norm %g", scale, r, want)
		}
		// The clipped update has the length of the learning rate.
		after, _ := torch.Float32s(state(t, tr)[0])
		moved := 0.0
		for i := range w {
			moved += math.Pow(float64(after[i]-w[i]), 2)
		}
		if length := math.Min(1, want) * 0.5; math.Abs(math.Sqrt(moved)-length) > 1e-3 {
			t.Errorf("scale %g: moved by %g, want %g", scale, math.Sqrt(moved), length)
		}
	}
}

func TestMicroBatchesAddUp(t *testing.T) {
	config := func() torch.TrainerConfig {
		return torch.TrainerConfig{Device: device, Module: build(t, cnn, 1), Loss: torch.CrossEntropy, Optimizer: torch.OptimizerConfig{Kind: torch.SGD, Momentum: 0.9}}
	}
	whole, split := newTrainer(t, config()), newTrainer(t, config())
	for s := range 3 {
		in := torch.StepInput{Batch: images(10, uint64(s)), LossScale: 0.1, LR: 0.1}
		a := step(t, whole, in)
		in.MicroBatches = 3
		b := step(t, split, in)
		if math.Abs(a.LossSum-b.LossSum) > 1e-4 || b.Rows != 10 {
			t.Errorf("step %d: %+v whole, %+v split", s, a, b)
		}
	}
	if d := furthest(t, state(t, whole), state(t, split)); d > 1e-5 {
		t.Errorf("states differ by %g", d)
	}
}

func TestResumedEqualsUninterrupted(t *testing.T) {
	dropout := newDropoutSpec()
	for _, o := range optimizers {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			config := func(seed int64) torch.TrainerConfig {
				return torch.TrainerConfig{Device: device, Module: build(t, dropout, seed), Loss: torch.CrossEntropy, Optimizer: o, ClipNorm: 1}
			}
			in := func(s int) torch.StepInput {
				return torch.StepInput{Batch: images(8, uint64(s)), LossScale: 1.0 / 8, LR: 0.01, Seed: int64(s)}
			}
			straight := newTrainer(t, config(1))
			for s := range 3 {
				step(t, straight, in(s))
			}
			kept := state(t, straight)
			resumed := newTrainer(t, config(2)) // starts elsewhere
			if err := resumed.LoadState(kept); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(kept, state(t, resumed)); diff != "" {
				t.Fatalf("state after LoadState:\n%s", diff)
			}
			for s := 3; s < 6; s++ {
				a, b := step(t, straight, in(s)), step(t, resumed, in(s))
				if a != b {
					t.Errorf("step %d: %+v straight, %+v resumed", s, a, b)
				}
				if _, err := resumed.Evaluate(images(4, 9)); err != nil { // which must not disturb
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(state(t, straight), state(t, resumed)); diff != "" {
				t.Errorf("states after six steps:\n%s", diff)
			}
			other := in(5)
			other.Seed = 77
			before := state(t, straight)
			a := step(t, straight, other)
			if err := straight.LoadState(before); err != nil {
				t.Fatal(err)
			}
			if b := step(t, straight, in(5)); a == b {
				t.Error("the seed has no influence on dropout")
			}
		})
	}
}

func TestStateOfAnotherModelIsRefused(t *testing.T) {
	adam := newTrainer(t, torch.TrainerConfig{Device: device, Module: build(t, mlp, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)})
	var names []string
	for _, x := range state(t, adam) {
		names = append(names, x.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "model.net.0.weight") || !strings.Contains(got, "optim.net.4.bias.exp_avg_sq optim.step") {
		t.Errorf("names: %s", got)
	}
	for name, c := range map[string]torch.TrainerConfig{
		"optimizer": {Device: device, Module: build(t, mlp, 1), Loss: torch.CrossEntropy, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}},
		"model":     {Device: device, Module: build(t, cnn, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)},
	} {
		if err := newTrainer(t, c).LoadState(state(t, adam)); !errors.Is(err, torch.ErrStateMismatch) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestFingerprintSeesEveryBit(t *testing.T) {
	config := torch.TrainerConfig{Device: device, Module: build(t, cnn, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)}
	tr := newTrainer(t, config)
	step(t, tr, torch.StepInput{Batch: images(4, 1), LossScale: 0.25, LR: 0.1})
	fingerprint := func(s []torch.Tensor) uint64 {
		if err := tr.LoadState(s); err != nil {
			t.Fatal(err)
		}
		f, err := tr.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	whole := state(t, tr)
	want, seen := fingerprint(whole), map[uint64]string{}
	for i, x := range whole {
		for _, at := range []int{0, len(x.Data) / 2, len(x.Data) - 1} {
			for bit := range 8 {
				x.Data[at] ^= 1 << bit
				f := fingerprint(whole)
				x.Data[at] ^= 1 << bit
				name := fmt.Sprintf("%s byte %d bit %d", whole[i].Name, at, bit)
				if other := seen[f]; f == want || other != "" && len(x.Data) > 8 {
					t.Errorf("%s: fingerprint %x is that of the whole (%x) or of %s", name, f, want, other)
				}
				seen[f] = name
			}
		}
	}
	if f := fingerprint(whole); f != want {
		t.Errorf("the same state has the fingerprints %x and %x", f, want)
	}
}

func TestFiniteLooksAtTheWholeState(t *testing.T) {
	tr := newTrainer(t, torch.TrainerConfig{Device: device, Module: build(t, cnn, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)})
	finite := func() bool {
		ok, err := tr.Finite()
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !finite() {
		t.Error("a fresh state is not finite")
	}
	s := state(t, tr)
	for _, i := range []int{0, len(s) - 2} { // a parameter; exp_avg_sq of the last
		for _, bad := range [][]byte{{0, 0, 0x80, 0x7f}, {1, 0, 0x80, 0xff}} { // Inf, NaN
			kept := bytes.Clone(s[i].Data)
			copy(s[i].Data[len(kept)-4:], bad)
			if err := tr.LoadState(s); err != nil {
				t.Fatal(err)
			}
			if finite() {
				t.Errorf("%s ends with %x and is finite", s[i].Name, bad)
			}
			copy(s[i].Data, kept)
		}
	}
}
