package version

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Probe is a raw input row with the output that the published model gave for it.
type Probe struct {
	Input  []float32 `json:"input"`  // before normalisation
	Output []float32 `json:"output"` // of the model
}

const (
	probes    = 8 // that a version gets
	maxProbes = 1024
	// Other processors and versions of libtorch add up in another order.
	tolerance = 1e-3
)

// Model is a TorchScript model, ready to answer.
type Model interface {
	// Predict gives the output of rows of the given shape, rows first. It is safe for concurrent use.
	Predict(x []float32, shape []int64) (out []float32, outShape []int64, err error)
}

// Answer runs the model on raw rows: normalises them, predicts and checks the output's
// shape. It returns rows * width numbers. It is the one way from raw inputs to outputs,
// for probes, test metrics and serving alike.
func Answer(m Model, man Manifest, raw []float32, rows int) ([]float32, error) {
	x := make([]float32, len(raw))
	if err := man.Normalization.Apply(x, raw, man.Dim()); err != nil {
		return nil, err
	}
	out, shape, err := m.Predict(x, append([]int64{int64(rows)}, man.RowShape()...))
	if err != nil {
		return nil, err
	}
	return out, CheckOutput(shape, rows, man.OutputShape())
}

// CheckOutput refuses outputs of another shape than that of a row, rows first, or [rows] for
// one number a row.
func CheckOutput(shape []int64, rows int, row []int64) error {
	wanted := append([]int64{int64(rows)}, row...)
	if slices.Equal(shape, wanted) || len(row) == 1 && row[0] == 1 && slices.Equal(shape, wanted[:1]) {
		return nil
	}
	return fmt.Errorf("%w: for %d rows it gives shape %v, but the dataset needs %v", ErrOutput, rows, shape, wanted)
}

// MakeProbes asks the model about the first of some raw rows, of which there must be one.
func MakeProbes(m Model, man Manifest, raw []float32) ([]Probe, error) {
	dim, width := man.Dim(), man.Width()
	rows := min(probes, len(raw)/dim)
	out, err := Answer(m, man, raw[:rows*dim], rows)
	if err != nil {
		return nil, fmt.Errorf("make probes: %w", err)
	}
	all := make([]Probe, rows)
	for i := range all {
		all[i] = Probe{raw[i*dim : (i+1)*dim], out[i*width : (i+1)*width]}
	}
	return all, nil
}

// ParseProbes reads the bytes of a probes file.
func ParseProbes(b []byte, man Manifest) ([]Probe, error) {
	var all []Probe
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%w: probes: %w", ErrCorrupt, err)
	}
	if len(all) == 0 || len(all) > maxProbes {
		return nil, fmt.Errorf("%w: %d probes", ErrCorrupt, len(all))
	}
	for i, p := range all {
		if len(p.Input) != man.Dim() || len(p.Output) != man.Width() {
			return nil, fmt.Errorf("%w: probe %d has %d inputs and %d outputs", ErrCorrupt, i, len(p.Input), len(p.Output))
		}
	}
	return all, nil
}

// CheckProbes asks the model all probes. ErrProbe if an answer is another one.
func CheckProbes(m Model, man Manifest, all []Probe) error {
	difference, err := AskProbes(m, man, all)
	if err == nil && difference != "" {
		err = fmt.Errorf("%w: %s", ErrProbe, difference)
	}
	return err
}

// AskProbes asks the model each probe alone and says what is the first difference, if there is one.
func AskProbes(m Model, man Manifest, all []Probe) (difference string, err error) {
	for i, p := range all {
		out, err := Answer(m, man, p.Input, 1)
		if err != nil {
			return "", fmt.Errorf("probe %d: %w", i, err)
		}
		for j, want := range p.Output {
			if d := math.Abs(float64(out[j] - want)); !(d <= tolerance*max(1, math.Abs(float64(want)))) {
				return fmt.Sprintf("probe %d, output %d is %v instead of %v", i, j, out[j], want), nil
			}
		}
	}
	return "", nil
}
