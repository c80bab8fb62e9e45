package dataset

import (
	"fmt"
	"math"
)

// Method names a way of normalising features.
type Method string

// The methods. The global ones use one mean and spread over all features, which suits
// pixels; the others one for each feature.
const (
	MethodNone           Method = "none"
	MethodStandard       Method = "standard"        // (x - mean) / standard deviation
	MethodStandardGlobal Method = "standard-global" // the same over all features
	MethodMinMax         Method = "minmax"          // (x - min) / (max - min)
	MethodMinMaxGlobal   Method = "minmax-global"   // the same over all features
	MethodScale          Method = "scale"           // x * factor
)

// Normalization maps raw features to what the model sees: (x - Offset) / Scale. Training
// and serving both call Apply, so they cannot differ. It is JSON, and part of the manifests
// of datasets and published versions.
type Normalization struct {
	Method Method `json:"method"`
	// Offset and Scale have one value for each feature, or one for all, or, with
	// MethodNone, none. Scale is never 0: a constant feature has 1.
	Offset []float32 `json:"offset,omitempty"`
	Scale  []float32 `json:"scale,omitempty"`
}

// Validate refuses a normalisation that Apply could not use for samples of dim features.
func (n Normalization) Validate(dim int) error {
	switch n.Method {
	case MethodNone, MethodStandard, MethodStandardGlobal, MethodMinMax, MethodMinMaxGlobal, MethodScale:
	default:
		return fmt.Errorf("unknown normalisation %.40q", n.Method)
	}
	if len(n.Offset) != len(n.Scale) {
		return fmt.Errorf("normalisation has %d offsets and %d scales", len(n.Offset), len(n.Scale))
	}
	if k := len(n.Scale); k > 1 && k != dim || k == 0 && n.Method != MethodNone || k != 0 && n.Method == MethodNone {
		return fmt.Errorf("normalisation %s has %d values for %d features", n.Method, k, dim)
	}
	for i := range n.Scale {
		if !finite(n.Offset[i]) || !finite(n.Scale[i]) || n.Scale[i] == 0 {
			return fmt.Errorf("normalisation of feature %d: offset %v, scale %v", i, n.Offset[i], n.Scale[i])
		}
	}
	return nil
}

// Apply normalises whole samples, row-major: dst and src have the same length, a multiple
// of dim, the number of features of a sample. They may be the same slice.
func (n Normalization) Apply(dst, src []float32, dim int) error {
	if err := n.Validate(dim); err != nil {
		return err
	}
	if dim <= 0 || len(dst) != len(src) || len(src)%dim != 0 {
		return fmt.Errorf("normalise %d values into %d: want whole samples of %d features", len(src), len(dst), dim)
	}
	switch len(n.Scale) {
	case 0:
		copy(dst, src)
	case 1:
		offset, scale := n.Offset[0], n.Scale[0]
		for i, x := range src {
			dst[i] = (x - offset) / scale
		}
	default:
		for at := 0; at < len(src); at += dim {
			row, out := src[at:at+dim], dst[at:at+dim]
			for j, x := range row {
				out[j] = (x - n.Offset[j]) / n.Scale[j]
			}
		}
	}
	return nil
}

// Stats describe one feature in the training split.
type Stats struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"` // of the population
	Min  float32 `json:"min"`
	Max  float32 `json:"max"`
}

// featureStats looks at the given rows only. Sums are in float64 and in row order, so the
// result is the same on any machine.
func featureStats(features []float32, dim int, rows []int) []Stats {
	stats := make([]Stats, dim)
	for j := range stats {
		s := Stats{Min: float32(math.Inf(1)), Max: float32(math.Inf(-1))}
		var sum float64
		for _, r := range rows {
			x := features[r*dim+j]
			sum += float64(x)
			s.Min, s.Max = min(s.Min, x), max(s.Max, x)
		}
		s.Mean = sum / float64(len(rows))
		var squares float64
		for _, r := range rows {
			d := float64(features[r*dim+j]) - s.Mean
			squares += float64(d * d) // the conversion keeps the compiler from fusing, which some machines lack
		}
		s.Std = math.Sqrt(squares / float64(len(rows)))
		stats[j] = s
	}
	return stats
}

// fit makes the normalisation that is asked for out of the training split's statistics.
func (n Normalize) fit(stats []Stats) Normalization {
	out := Normalization{Method: n.Method}
	switch n.Method {
	case MethodScale:
		out.Offset, out.Scale = []float32{0}, []float32{float32(1 / n.Factor)}
	case MethodStandardGlobal:
		mean, std := pooled(stats)
		out.Offset, out.Scale = []float32{float32(mean)}, []float32{divisor(std)}
	case MethodMinMaxGlobal:
		low, high := math.Inf(1), math.Inf(-1)
		for _, s := range stats {
			low, high = min(low, float64(s.Min)), max(high, float64(s.Max))
		}
		out.Offset, out.Scale = []float32{float32(low)}, []float32{divisor(high - low)}
	case MethodStandard:
		for _, s := range stats {
			out.Offset, out.Scale = append(out.Offset, float32(s.Mean)), append(out.Scale, divisor(s.Std))
		}
	case MethodMinMax:
		for _, s := range stats {
			out.Offset, out.Scale = append(out.Offset, s.Min), append(out.Scale, divisor(float64(s.Max)-float64(s.Min)))
		}
	}
	return out
}

// pooled returns mean and standard deviation over all features, which have equally many values.
func pooled(stats []Stats) (mean, std float64) {
	for _, s := range stats {
		mean += s.Mean
	}
	mean /= float64(len(stats))
	var variance float64
	for _, s := range stats {
		d := s.Mean - mean
		variance += float64(s.Std*s.Std) + float64(d*d)
	}
	return mean, math.Sqrt(variance / float64(len(stats)))
}

// divisor makes a spread safe to divide by: a constant feature is only shifted.
func divisor(spread float64) float32 {
	f := float32(spread)
	if f == 0 || !finite(f) || !finite(1/f) {
		return 1
	}
	return f
}

func finite(f float32) bool {
	return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0)
}
