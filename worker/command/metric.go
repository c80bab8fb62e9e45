package command

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits of one line of metrics.
const (
	maxLine   = 4096 // bytes
	maxValues = 64
	maxName   = 64 // bytes
)

// prefix begins a line of metrics, so that other output is never taken for one.
const prefix = "tandem-metrics "

// ErrLine means that a line was meant as metrics and is wrong. It goes into the log all the same.
var ErrLine = errors.New("line of metrics")

// Metrics are what a program says of itself at a step.
type Metrics struct {
	Step   int64 // steps done
	Values map[string]float64
}

// ParseMetrics reads a line of a program's output without its end: "tandem-metrics step=200 loss=0.31 accuracy=0.91", the fields in any
// order, apart by spaces. It is false for a line that is not meant as metrics; the error, an ErrLine, says what is wrong with one that is.
func ParseMetrics(line string) (m Metrics, meant bool, err error) {
	text, meant := strings.CutPrefix(line, prefix)
	if !meant {
		return Metrics{}, false, nil
	}
	wrong := func(format string, args ...any) (Metrics, bool, error) {
		return Metrics{}, true, fmt.Errorf("%w: %w", ErrLine, fmt.Errorf(format, args...))
	}
	if len(line) > maxLine {
		return wrong("it has %d bytes, at most %d are read: write fewer metrics", len(line), maxLine)
	}
	m = Metrics{Step: -1, Values: map[string]float64{}}
	for _, field := range strings.Fields(text) {
		name, value, ok := strings.Cut(field, "=")
		if !ok || !named(name) {
			return wrong("%.80q must be name=number, with a name of at most %d letters, digits, and any of _ . / -", field, maxName)
		}
		if name == "step" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 || m.Step >= 0 {
				return wrong("%.80q must be a whole number from 0, given once", field)
			}
			m.Step = n
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return wrong("%.80q must have a finite number", field)
		}
		if _, twice := m.Values[name]; twice {
			return wrong("%.80q is given twice", name)
		}
		m.Values[name] = v
	}
	switch {
	case m.Step < 0:
		return wrong("it has no step: begin it with %sstep=N", prefix)
	case len(m.Values) == 0 || len(m.Values) > maxValues:
		return wrong("it has %d metrics, and may have 1 to %d", len(m.Values), maxValues)
	}
	return m, true, nil
}

// named tells whether a text may name a metric.
func named(s string) bool {
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && !strings.ContainsRune("_./-", c)
	}) < 0
}
