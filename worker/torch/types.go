package torch

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"tandem.dev/storage/safetensors"
)

// Tensor is a named tensor on the host: row-major little-endian bytes, with the
// element types of safetensors (F32, I64, ...).
type Tensor = safetensors.Tensor

// Float32Tensor makes a tensor of the given shape, which must hold len(data) elements.
func Float32Tensor(data []float32, shape ...int64) Tensor {
	b := make([]byte, 0, 4*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return Tensor{DType: "F32", Shape: shape, Data: b}
}

// Float32s returns the elements of an F32 tensor.
func Float32s(t Tensor) ([]float32, error) {
	if t.DType != "F32" {
		return nil, fmt.Errorf("%w: tensor %q is %s, expected F32", ErrShape, t.Name, t.DType)
	}
	out := make([]float32, len(t.Data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return out, nil
}

// Device is the CPU (the zero value) or a CUDA device.
type Device struct {
	CUDA  bool
	Index int // of the CUDA device
}

// CPU is the host's processor.
var CPU = Device{}

func (d Device) String() string {
	if d.CUDA {
		return "cuda:" + strconv.Itoa(d.Index)
	}
	return "cpu"
}

// index is -1 for the CPU, as in gotch.
func (d Device) index() int {
	if d.CUDA {
		return d.Index
	}
	return -1
}

// LossKind names a loss. Both are means within a row and sums over rows.
type LossKind string

const (
	// CrossEntropy wants output [n, classes, ...] and integer labels [n, ...].
	CrossEntropy LossKind = "cross_entropy"
	// MSE wants output and targets of one shape; [n, 1] fits [n].
	MSE LossKind = "mse"
)

// OptimizerKind names an optimizer; the arithmetic is PyTorch's.
type OptimizerKind string

const (
	// SGD is stochastic gradient descent, with momentum where it is given.
	SGD OptimizerKind = "sgd"
	// Adam adapts the rate of each parameter; weight decay is part of the gradient.
	Adam OptimizerKind = "adam"
	// AdamW is Adam with weight decay apart from the gradient.
	AdamW OptimizerKind = "adamw"
)

// OptimizerConfig configures an optimizer. The learning rate is given with each step.
type OptimizerConfig struct {
	Kind        OptimizerKind
	Momentum    float64 // SGD
	Nesterov    bool    // SGD
	WeightDecay float64 // L2 for SGD and Adam, decoupled for AdamW
	Beta1       float64 // Adam and AdamW: decay of the mean gradient, usually 0.9
	Beta2       float64 // Adam and AdamW: decay of the mean square, usually 0.999
	Epsilon     float64 // Adam and AdamW: added to the divisor, usually 1e-8
}

func (c OptimizerConfig) validate() error {
	switch {
	case c.Kind != SGD && c.Kind != Adam && c.Kind != AdamW:
		return fmt.Errorf("optimizer %q is unknown: use sgd, adam or adamw", c.Kind)
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fmt.Errorf("momentum %g is not in [0, 1)", c.Momentum)
	case c.Nesterov && c.Momentum == 0:
		return fmt.Errorf("nesterov needs a momentum above 0")
	case !(c.WeightDecay >= 0) || math.IsInf(c.WeightDecay, 0):
		return fmt.Errorf("weight decay %g is negative or not finite", c.WeightDecay)
	case !(c.Beta1 >= 0 && c.Beta1 < 1) || !(c.Beta2 >= 0 && c.Beta2 < 1):
		return fmt.Errorf("betas %g and %g are not in [0, 1)", c.Beta1, c.Beta2)
	case c.Kind != SGD && !(c.Epsilon > 0):
		return fmt.Errorf("epsilon %g is not positive", c.Epsilon)
	}
	return nil
}

// Batch is rows of one step or evaluation: X float32 of shape XShape, row-major, rows first; and either Labels
// (cross-entropy) or Targets (MSE) of shape YShape. An empty YShape stands for [rows], or [rows, n/rows] for longer Targets.
type Batch struct {
	X       []float32
	XShape  []int64
	Labels  []int64
	Targets []float32
	YShape  []int64
}

// check completes YShape and refuses what does not fit together.
func (b Batch) check(loss LossKind) (Batch, error) {
	if len(b.XShape) == 0 {
		return b, fmt.Errorf("%w: the input has no shape", ErrShape)
	}
	if n := elements(b.XShape); n != int64(len(b.X)) {
		return b, fmt.Errorf("%w: input shape %v holds %d values, got %d", ErrShape, b.XShape, n, len(b.X))
	}
	rows, given := b.XShape[0], int64(len(b.Targets))
	if loss == CrossEntropy {
		given = int64(len(b.Labels))
		if b.Targets != nil {
			return b, fmt.Errorf("%w: cross-entropy takes integer labels, not targets", ErrShape)
		}
	} else if b.Labels != nil {
		return b, fmt.Errorf("%w: mean squared error takes targets, not integer labels", ErrShape)
	}
	if len(b.YShape) == 0 {
		b.YShape = []int64{rows}
		if rows > 0 && given != rows {
			b.YShape = []int64{rows, given / rows}
		}
	}
	if n := elements(b.YShape); b.YShape[0] != rows || n != given {
		return b, fmt.Errorf("%w: %d rows of input, but labels or targets of shape %v with %d values", ErrShape, rows, b.YShape, given)
	}
	return b, nil
}

// elements is the number of elements of a shape, -1 for a negative size.
func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return -1
		}
		n *= d
	}
	return n
}
