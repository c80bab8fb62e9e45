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
	Forward  string // TorchScript source of forward(self, x: Tensor) -> Tensor
}

// ChildDef is a named submodule. The source of Forward reaches a child named
// "0" by getattr(self, "0").
type ChildDef struct {
	Name   string
	Module ModuleDef
}

// ParamDef is a float32 tensor and how it starts.
type ParamDef struct {
	Name  string
	Shape []int64
	Init  Uniform
}

// Uniform draws from [Low, High); equal bounds are a constant.
type Uniform struct {
	Low, High float64
}

// Fill draws the n values of the parameter at path, e.g. "net.0.weight". They depend on
// the seed and the path only: a new layer elsewhere changes no other layer's start.
func (u Uniform) Fill(seed int64, path string, n int64) []float32 {
	h := fnv.New64a()
	h.Write([]byte(path))
	r := rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(u.Low)
		if u.High > u.Low {
			out[i] = float32(u.Low + (u.High-u.Low)*r.Float64())
		}
	}
	return out
}
