package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/torch"
)

// ErrSpec: the spec describes no model for this input.
var ErrSpec = errors.New("bad model spec")

// maxParameters bounds a model that a spec can ask for: 8 GiB of float32.
const maxParameters = 1 << 31

// Define describes the model of a spec with an architecture. inputShape is the shape of one row
// without the row dimension; outputs is the number of classes or of target values.
func Define(spec *tandemv1.ModelSpec, inputShape []int64, outputs int) (torch.ModuleDef, error) {
	if outputs < 1 {
		return torch.ModuleDef{}, fmt.Errorf("%w: %d outputs", ErrSpec, outputs)
	}
	if len(inputShape) == 0 || slices.ContainsFunc(inputShape, func(d int64) bool { return d < 1 || d > math.MaxInt32 }) {
		return torch.ModuleDef{}, fmt.Errorf("%w: rows of shape %v", ErrSpec, inputShape)
	}
	var def torch.ModuleDef
	var err error
	switch a := spec.GetArchitecture().(type) {
	case *tandemv1.ModelSpec_Mlp:
		def, err = mlp(a.Mlp, inputShape, int64(outputs))
	case *tandemv1.ModelSpec_Cnn:
		def, err = cnn(a.Cnn, inputShape, int64(outputs))
	case *tandemv1.ModelSpec_Resnet:
		def, err = resnet(a.Resnet, inputShape, int64(outputs))
	case *tandemv1.ModelSpec_Gpt:
		def, err = gpt(a.Gpt, inputShape, int64(outputs))
	case *tandemv1.ModelSpec_Torchscript:
		err = errors.New("a TorchScript file is loaded, not built")
	default:
		err = errors.New("no architecture: set mlp, cnn, resnet, gpt or torchscript")
	}
	if err == nil {
		if n := parameters(def); n > maxParameters {
			err = fmt.Errorf("%.3g parameters are more than %d", n, int64(maxParameters))
		}
	}
	if err != nil {
		return torch.ModuleDef{}, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return def, nil
}

// parameters counts in floats, which do not overflow.
func parameters(def torch.ModuleDef) float64 {
	total := 0.0
	for _, p := range def.Params {
		n := 1.0
		for _, d := range p.Shape {
			n *= float64(d)
		}
		total += n
	}
	for _, c := range def.Children {
		total += parameters(c.Module)
	}
	return total
}

// sequential collects layers as torch.nn.Sequential numbers them. Layers with
// parameters become children; the others only take a number and a line of source.
type sequential struct {
	next     int
	children []torch.ChildDef
	lines    []string
}

// layer adds a child that is called with x.
func (s *sequential) layer(m torch.ModuleDef) {
	name := strconv.Itoa(s.next)
	s.children = append(s.children, torch.ChildDef{Name: name, Module: m})
	s.op(fmt.Sprintf("getattr(self, %q).forward(x)", name))
}

// op adds an expression of x.
func (s *sequential) op(expression string) {
	s.lines = append(s.lines, "    x = "+expression)
	s.next++
}

func (s *sequential) dropout(p float64) {
	if p > 0 {
		s.op(dropout("x", p))
	}
}

func (s *sequential) module() torch.ModuleDef {
	return torch.ModuleDef{
		Class: "tandem.Sequential", Children: s.children,
		Forward: "def forward(self, x: Tensor) -> Tensor:\n" + strings.Join(s.lines, "\n") + "\n    return x\n",
	}
}

// dropout is torch.nn.Dropout of an expression; the expression itself where nothing is dropped.
func dropout(of string, p float64) string {
	if p == 0 {
		return of
	}
	return fmt.Sprintf("torch.dropout(%s, %s, self.training)", of, strconv.FormatFloat(p, 'f', -1, 64))
}

// ones is the start of a normalisation's weights.
var ones = torch.Uniform{Low: 1, High: 1}

// linear is torch.nn.Linear.
func linear(in, out int64) torch.ModuleDef {
	bound := defaultInit(in)
	return torch.ModuleDef{
		Class:   "tandem.Linear",
		Params:  []torch.ParamDef{{Name: "weight", Shape: []int64{out, in}, Init: bound}, {Name: "bias", Shape: []int64{out}, Init: bound}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return torch.linear(x, self.weight, self.bias)\n",
	}
}

// defaultInit is how PyTorch draws weights and biases of linear and
// convolution layers: kaiming_uniform with a = sqrt(5) comes to this bound.
func defaultInit(fanIn int64) torch.Uniform {
	bound := 1 / math.Sqrt(float64(fanIn))
	return torch.Uniform{Low: -bound, High: bound}
}

func activation(name string) (string, error) {
	switch name {
	case "", "relu":
		return "torch.relu(x)", nil
	case "gelu":
		return "torch.gelu(x)", nil
	case "tanh":
		return "torch.tanh(x)", nil
	}
	return "", fmt.Errorf("activation %q is unknown: use relu, gelu or tanh", name)
}

func checkWidths(what string, widths []int32) error {
	for i, w := range widths {
		if w < 1 {
			return fmt.Errorf("%s[%d] is %d, it has to be at least 1", what, i, w)
		}
	}
	return nil
}

func checkDropout(p float64) error {
	if !(p >= 0 && p < 1) {
		return fmt.Errorf("dropout is %g, it has to be 0 or more and below 1", p)
	}
	return nil
}
