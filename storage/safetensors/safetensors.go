package safetensors

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrFormat: the bytes are not an acceptable safetensors file.
var ErrFormat = errors.New("bad safetensors file")

// Tensor is a named array of numbers.
type Tensor struct {
	Name  string
	DType string  // F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL
	Shape []int64 // empty for a scalar
	Data  []byte  // little-endian, row-major, exactly Size bytes
}

// Span is a tensor, without its Data, and where these lie in a file.
type Span struct {
	Tensor
	Begin, End int64 // offsets from the beginning of the file
}

// Limits bound what a reader accepts, and so the memory it uses.
type Limits struct {
	HeaderBytes int64 // length of the JSON header
	Tensors     int   // number of tensors
	NameBytes   int   // length of a tensor's name
	Dims        int   // length of a shape
	TotalBytes  int64 // length of the whole file
}

// DefaultLimits fit models of up to 64 GiB a file.
func DefaultLimits() Limits {
	return Limits{HeaderBytes: 16 << 20, Tensors: 100_000, NameBytes: 512, Dims: 16, TotalBytes: 64 << 30}
}

// elementSize returns the bytes of one number, 0 for an unknown dtype.
func elementSize(dtype string) int64 {
	switch dtype {
	case "F64", "I64", "U64":
		return 8
	case "F32", "I32", "U32":
		return 4
	case "F16", "BF16", "I16", "U16":
		return 2
	case "I8", "U8", "BOOL":
		return 1
	}
	return 0
}

// Size returns the bytes that a tensor of this dtype and shape has.
func Size(dtype string, shape []int64) (int64, error) {
	n := elementSize(dtype)
	if n == 0 {
		return 0, fmt.Errorf("%w: unknown dtype %.20q", ErrFormat, dtype)
	}
	zero := false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("%w: negative dimension in shape %v", ErrFormat, shape)
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > 1<<62 {
			return 0, fmt.Errorf("%w: shape %v is too large", ErrFormat, shape)
		}
		n = int64(lo)
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// check refuses a tensor that the format or the limits do not allow. It has so many bytes.
func (t Tensor) check(l Limits, bytes int64) error {
	if t.Name == "" || t.Name == metadataKey || len(t.Name) > l.NameBytes {
		return fmt.Errorf("%w: tensor name %.80q: must have 1 to %d bytes and not be %s", ErrFormat, t.Name, l.NameBytes, metadataKey)
	}
	if len(t.Shape) > l.Dims {
		return fmt.Errorf("%w: tensor %q has %d dimensions, at most %d are allowed", ErrFormat, t.Name, len(t.Shape), l.Dims)
	}
	n, err := Size(t.DType, t.Shape)
	if err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if n != bytes {
		return fmt.Errorf("%w: tensor %q: %s%v takes %d bytes, it has %d", ErrFormat, t.Name, t.DType, t.Shape, n, bytes)
	}
	return nil
}

const metadataKey = "__metadata__"
