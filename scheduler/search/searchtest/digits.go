package searchtest

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"

	"tandem.dev/scheduler/search"
)

// The grid that was trained: learning rates and weight decays are even on a logarithmic scale.
var (
	rates   = logarithmic(1e-3, 1, 9)
	decays  = logarithmic(1e-5, 1e-1, 5)
	widths  = []float64{4, 8, 16, 32, 64}
	batches = []float64{16, 64}
)

// epochs of a whole training; each was measured.
const epochs = 27

func logarithmic(low, high float64, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = low * math.Pow(high/low, float64(i)/float64(n-1))
	}
	return v
}

// curves is a line for each training: rate, decay, width, batch, and the loss on the validation set after each epoch.
//
//go:embed testdata/curves.csv
var curves string

// Digits is a table of real learning curves: perceptrons with one hidden layer on the handwritten digits of the examples, trained by SGD with
// momentum. A point stands for the nearest one of the table. To record it again: go test ./scheduler/search/searchtest -run Record -record
func Digits() Problem {
	table, best, err := parse(curves)
	if err != nil {
		panic(fmt.Sprintf("testdata/curves.csv: %v", err)) // it is part of the program
	}
	list := func(v []float64) []any {
		values := make([]any, len(v))
		for i := range v {
			values[i] = v[i]
		}
		return values
	}
	return Problem{
		Name: "digits",
		Space: search.Space{
			"rate":  {Log: []float64{rates[0], rates[len(rates)-1]}, Count: len(rates)},
			"decay": {Log: []float64{decays[0], decays[len(decays)-1]}, Count: len(decays)},
			"width": {Choice: list(widths)},
			"batch": {Choice: list(batches)},
		},
		Optimum: best, Evaluations: epochs, Table: true,
		Value: func(p search.Point, share float64) float64 {
			curve := table[key(nearest(rates, p["rate"]), nearest(decays, p["decay"]), nearest(widths, p["width"]), nearest(batches, p["batch"]))]
			return curve[min(max(int(math.Round(share*epochs)), 1), epochs)-1]
		},
	}
}

// nearest place by ratio.
func nearest(list []float64, v any) int {
	best := 0
	for i := range list {
		if math.Abs(math.Log(list[i]/v.(float64))) < math.Abs(math.Log(list[best]/v.(float64))) {
			best = i
		}
	}
	return best
}

func key(rate, decay, width, batch int) [4]int { return [4]int{rate, decay, width, batch} }

func parse(text string) (map[[4]int][]float64, float64, error) {
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return nil, 0, err
	}
	table, best := map[[4]int][]float64{}, math.Inf(1)
	for _, line := range lines {
		v := make([]float64, len(line))
		for i := range line {
			if v[i], err = strconv.ParseFloat(line[i], 64); err != nil {
				return nil, 0, err
			}
		}
		if len(v) != 4+epochs {
			return nil, 0, fmt.Errorf("a line of %d", len(v))
		}
		table[key(nearest(rates, v[0]), nearest(decays, v[1]), nearest(widths, v[2]), nearest(batches, v[3]))] = v[4:]
		for _, loss := range v[4:] {
			if loss < best { // NaN never is
				best = loss
			}
		}
	}
	if want := len(rates) * len(decays) * len(widths) * len(batches); len(table) != want {
		return nil, 0, fmt.Errorf("%d curves, want %d", len(table), want)
	}
	return table, best, nil
}
