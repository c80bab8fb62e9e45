package picture

import (
	"fmt"
	"math"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Domain is that of a hyper-parameter, as a line from 0 to 1.
type Domain struct {
	Logarithmic bool

	text      func(any) string
	low, high float64
	values    []any // of a choice
}

// DomainOf makes a domain of that of a spec; text is a value of a choice for people.
func DomainOf(d *tandemv1.Domain, text func(any) string) Domain {
	switch {
	case d.GetChoice() != nil:
		return Domain{text: text, values: d.GetChoice().AsSlice()}
	case d.GetConst() != nil:
		return Domain{text: text, values: []any{d.GetConst().AsInterface()}}
	case len(d.GetInt()) == 2:
		return Domain{low: float64(d.GetInt()[0]), high: float64(d.GetInt()[1])}
	case len(d.GetLog()) == 2:
		return Domain{low: d.GetLog()[0], high: d.GetLog()[1], Logarithmic: true}
	case len(d.GetDouble()) == 2:
		return Domain{low: d.GetDouble()[0], high: d.GetDouble()[1]}
	}
	return Domain{}
}

// At is where on the line a value lies.
func (x Domain) At(v any) float64 {
	if x.values != nil {
		i := slices.IndexFunc(x.values, func(o any) bool { return x.text(o) == x.text(v) })
		if len(x.values) < 2 || i < 0 {
			return 0.5
		}
		return float64(i) / float64(len(x.values)-1)
	}
	n, _ := v.(float64)
	low, high := x.low, x.high
	if x.Logarithmic && low > 0 && n > 0 {
		low, high, n = math.Log(low), math.Log(high), math.Log(n)
	}
	if !(high > low) {
		return 0.5
	}
	return max(0, min(1, (n-low)/(high-low)))
}

// Ends are the values at both ends.
func (x Domain) Ends() (low, high string) {
	if n := len(x.values); n > 0 {
		return x.text(x.values[0]), x.text(x.values[n-1])
	}
	return fmt.Sprintf("%.4g", x.low), fmt.Sprintf("%.4g", x.high)
}

// Ticks name places on an axis: each choice, each power of ten, or five places.
func (x Domain) Ticks() []Tick {
	var ticks []Tick
	if x.values != nil {
		for _, v := range x.values {
			ticks = append(ticks, Tick{At: x.At(v), Text: x.text(v)})
		}
		return ticks
	}
	if x.Logarithmic && x.low > 0 && x.high >= 10*x.low {
		for e := math.Ceil(math.Log10(x.low) - 1e-9); e <= math.Log10(x.high)+1e-9; e++ {
			ticks = append(ticks, Tick{At: x.At(math.Pow(10, e)), Text: fmt.Sprintf("%.4g", math.Pow(10, e))})
		}
		if len(ticks) > 1 {
			return ticks
		}
	}
	ticks = nil
	for _, at := range []float64{0, 0.25, 0.5, 0.75, 1} {
		v := x.low + at*(x.high-x.low)
		if x.Logarithmic {
			v = x.low * math.Pow(x.high/x.low, at)
		}
		ticks = append(ticks, Tick{At: at, Text: fmt.Sprintf("%.3g", v)})
	}
	return ticks
}
