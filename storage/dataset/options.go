package dataset

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Task is what a model learns from the data.
type Task string

// The tasks. TaskAuto is decided from the label column, see FromCSV; TaskLanguage is made by
// FromText.
const (
	TaskAuto           Task = ""
	TaskClassification Task = "classification"
	TaskRegression     Task = "regression"
	TaskLanguage       Task = "language" // the next byte at each place of a window of text
)

// MissingPolicy says what happens to a row without all its values.
type MissingPolicy string

// The policies. A missing label is never made up: MissingMean treats it as MissingError does.
const (
	MissingError MissingPolicy = "error" // the row is a bad row
	MissingDrop  MissingPolicy = "drop"  // the row is left out and counted
	MissingMean  MissingPolicy = "mean"  // the value becomes the column's mean in the training split
)

// Options of FromCSV.
type Options struct {
	// Label is the name of the label column.
	Label string
	// Task; TaskAuto decides from the label column.
	Task Task
	// Split is the share of rows in training, validation and test; see ParseSplit.
	Split Ratio
	// Seed decides which row goes into which split.
	Seed uint64
	// Normalize is the method and factor of normalisation; see ParseNormalize.
	Normalize Normalize
	// Shape of one sample, such as [1 8 8]; empty means [number of features].
	Shape []int64
	// Drop names columns that are not features.
	Drop []string
	// Missing is the policy for empty cells, NA, NaN, null and ?.
	Missing MissingPolicy
	// MaxBadRows is how many bad rows may be left out; with more, the conversion fails.
	MaxBadRows int
	// NoHeader: the first line is data; columns are then named c0, c1 ...
	NoHeader bool
	// Comma parts the cells.
	Comma rune
	// Limits bound the memory used.
	Limits Limits
}

// Limits bound what FromCSV accepts.
type Limits struct {
	Bytes      int64 // of the CSV file
	Cells      int64 // rows times features; 4 bytes of memory each
	Columns    int
	Classes    int
	ShardBytes int64 // of numbers in one shard
}

// DefaultOptions: comma separated with a header, 80/10/10, raw values, no bad row allowed.
func DefaultOptions() Options {
	return Options{
		Split:     Ratio{80, 10, 10},
		Normalize: Normalize{Method: MethodNone},
		Missing:   MissingError,
		Comma:     ',',
		Limits:    Limits{Bytes: 8 << 30, Cells: 1 << 30, Columns: 65536, Classes: 65536, ShardBytes: 64 << 20},
	}
}

// Validate refuses options that cannot be meant.
func (o Options) Validate() error {
	if o.Label == "" {
		return errors.New("name the label column with --label")
	}
	switch o.Task {
	case TaskAuto, TaskClassification, TaskRegression:
	default:
		return fmt.Errorf("unknown task %q: use classification or regression", o.Task)
	}
	switch o.Missing {
	case MissingError, MissingDrop, MissingMean:
	default:
		return fmt.Errorf("unknown policy %q for missing values: use error, drop or mean", o.Missing)
	}
	for _, d := range o.Shape {
		if d <= 0 {
			return fmt.Errorf("shape %v: every dimension must be positive", o.Shape)
		}
	}
	if len(o.Shape) > 8 {
		return fmt.Errorf("shape %v: at most 8 dimensions", o.Shape)
	}
	for _, d := range o.Drop {
		if d == o.Label {
			return fmt.Errorf("column %q cannot be the label and be dropped", d)
		}
	}
	if o.MaxBadRows < 0 {
		return errors.New("the number of bad rows allowed must not be negative")
	}
	if err := o.Split.validate(); err != nil {
		return err
	}
	return o.Normalize.validate()
}

// Ratio is the share of rows in training, validation and test, as parts of their sum.
type Ratio [3]int

// ParseSplit reads "80/10/10" or "80/20" (training/validation/test; no test split).
func ParseSplit(s string) (Ratio, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Ratio{}, fmt.Errorf("split %q: write training/validation/test, such as 80/10/10, or 80/20 without a test split", s)
	}
	var r Ratio
	for i, p := range parts {
		n, err := strconv.Atoi(strings.TrimSpace(p))
		if err != nil {
			return Ratio{}, fmt.Errorf(
				"split %q: %q is not a whole number; write training/validation/test, such as 80/10/10, or 80/20 without a test split", s, p)
		}
		r[i] = n
	}
	return r, r.validate()
}

func (r Ratio) validate() error {
	for _, n := range r {
		if n < 0 || n > 1_000_000 {
			return fmt.Errorf("split %s: the parts must be 0 to 1000000", r)
		}
	}
	if r[0] == 0 {
		return fmt.Errorf("split %s: training needs a part", r)
	}
	return nil
}

// String writes the ratio as ParseSplit reads it.
func (r Ratio) String() string { return fmt.Sprintf("%d/%d/%d", r[0], r[1], r[2]) }

// Normalize is what is asked for; Normalization is what came out of it.
type Normalize struct {
	Method Method
	// Factor multiplies the values with MethodScale.
	Factor float64
}

// ParseNormalize reads none, standard, standard-global, minmax, minmax-global or
// scale:<factor>, such as scale:0.0625 or scale:1/16.
func ParseNormalize(s string) (Normalize, error) {
	factor, scaled := strings.CutPrefix(s, string(MethodScale)+":")
	if !scaled {
		n := Normalize{Method: Method(s)}
		if n.Method == MethodScale {
			return n, errors.New("normalize scale: give the factor, such as scale:1/255")
		}
		return n, n.validate()
	}
	over, under, fraction := strings.Cut(factor, "/")
	f, err := strconv.ParseFloat(over, 64)
	if fraction && err == nil {
		var d float64
		if d, err = strconv.ParseFloat(under, 64); err == nil {
			f /= d
		}
	}
	if err != nil {
		return Normalize{}, fmt.Errorf("normalize %q: %q is not a number; write for example scale:1/255", s, factor)
	}
	n := Normalize{Method: MethodScale, Factor: f}
	return n, n.validate()
}

func (n Normalize) validate() error {
	switch n.Method {
	case MethodNone, MethodStandard, MethodStandardGlobal, MethodMinMax, MethodMinMaxGlobal:
		return nil
	case MethodScale:
		if f := float32(n.Factor); f == 0 || math.IsInf(float64(f), 0) || math.IsNaN(n.Factor) || math.IsInf(float64(1/f), 0) {
			return fmt.Errorf("normalize scale:%v: the factor must be a finite number other than 0", n.Factor)
		}
		return nil
	}
	return fmt.Errorf("unknown normalisation %q: use none, standard, standard-global, minmax, minmax-global or scale:<factor>", n.Method)
}
