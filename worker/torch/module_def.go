package torch

import (
	"hash/fnv"
	"math/rand/v2"
)

// ModuleDef describes a TorchScript module before it is compiled: what Compile
// turns into nested modules as torch.jit.script would make them.
type ModuleDef struct {
	Class    string // the type's name in the file, e.g. "tandem.Linear"
	Params   []ParamDef
	Buffers  []ParamDef // saved with the model, not trained
	Children []ChildDef
	Forward  string // TorchScript source of forward(self, x: Tensor) -> Tensor; a submodule's may take more
}

// ChildDef is a named submodule. The source of Forward reaches a child named
// "0" by getattr(self, "0").
type ChildDef struct {
	Name   string
	Module ModuleDef
}

// ParamDef is a tensor and how it starts.
type ParamDef struct {
	Name    string
	Shape   []int64
	Init    Start // nil is zero
	Integer bool  // int64, for buffers only; else float32
}

// Start draws the n first values of the tensor at path, e.g. "net.0.weight". They depend on
// the seed and the path only: a new layer elsewhere changes no other layer's start.
type Start interface {
	Fill(seed int64, path string, n int64) []float32
}

// Uniform draws from [Low, High); equal bounds are a constant.
type Uniform struct {
	Low, High float64
}

// Fill implements Start.
func (u Uniform) Fill(seed int64, path string, n int64) []float32 {
	r := source(seed, path)
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(u.Low)
		if u.High > u.Low {
			out[i] = float32(u.Low + (u.High-u.Low)*r.Float64())
		}
	}
	return out
}

// Normal draws from the normal distribution of mean 0 with the standard deviation Std.
type Normal struct {
	Std float64
}

// Fill implements Start.
func (d Normal) Fill(seed int64, path string, n int64) []float32 {
	r := source(seed, path)
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(d.Std * r.NormFloat64())
	}
	return out
}

func source(seed int64, path string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(path))
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}
