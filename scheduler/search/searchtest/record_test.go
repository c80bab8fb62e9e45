package searchtest

import (
	"encoding/csv"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

var record = flag.Bool("record", false, "train all of the table again (some minutes) and write testdata/curves.csv")

// TestRecord trains a few points of the table again: what was recorded can be had again. With -record it trains all and writes them down.
func TestRecord(t *testing.T) {
	train, held := digits(t)
	if *record {
		var b strings.Builder
		for _, rate := range rates {
			for _, decay := range decays {
				for _, width := range widths {
					for _, batch := range batches {
						fmt.Fprintf(&b, "%.6g,%.6g,%.6g,%.6g", rate, decay, width, batch)
						for _, loss := range curve(train, held, rate, decay, int(width), int(batch)) {
							fmt.Fprintf(&b, ",%.4g", loss)
						}
						b.WriteByte('\n')
					}
				}
			}
		}
		if err := os.WriteFile("testdata/curves.csv", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	table, _, err := parse(curves)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range [][4]int{{2, 1, 0, 1}, {5, 0, 1, 1}, {8, 4, 0, 1}} {
		got := curve(train, held, rates[at[0]], decays[at[1]], int(widths[at[2]]), int(batches[at[3]]))
		for i, loss := range got {
			if want := table[at][i]; math.Abs(loss-want) > 0.01*want && !(math.IsNaN(loss) && math.IsNaN(want)) {
				t.Fatalf("%v after epoch %d: loss %.4g, recorded %.4g", at, i+1, loss, want)
			}
		}
	}
}

// example is an image of 8 x 8 with values from 0 to 1, and its digit.
type example struct {
	x     [64]float64
	digit int
}

// digits reads the examples; the last third is held out.
func digits(t *testing.T) (train, held []example) {
	file, err := os.Open("../../../examples/digits/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines[1:] {
		var e example
		for j := range e.x {
			v, err := strconv.ParseFloat(line[j], 64)
			if err != nil {
				t.Fatal(err)
			}
			e.x[j] = v / 16
		}
		if e.digit, err = strconv.Atoi(line[64]); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			held = append(held, e)
		} else {
			train = append(train, e)
		}
	}
	return train, held
}

// perceptron has one hidden layer of rectified units.
type perceptron struct {
	width         int
	in, out       []float64 // weights and their biases: [width][65], [10][width+1]
	velIn, velOut []float64
	gradIn        []float64
	gradOut       []float64
	hidden        []float64
	p             [10]float64
}

func newPerceptron(width int, r *rand.Rand) *perceptron {
	n, m := width*65, 10*(width+1)
	p := &perceptron{width: width, in: make([]float64, n), out: make([]float64, m), velIn: make([]float64, n), velOut: make([]float64, m),
		gradIn: make([]float64, n), gradOut: make([]float64, m), hidden: make([]float64, width)}
	for i := range p.in {
		if i%65 != 64 {
			p.in[i] = r.NormFloat64() * math.Sqrt(2.0/64)
		}
	}
	for i := range p.out {
		if i%(width+1) != width {
			p.out[i] = r.NormFloat64() * math.Sqrt(1/float64(width))
		}
	}
	return p
}

// forward returns the loss on one example and leaves the probabilities in p.
func (p *perceptron) forward(e *example) float64 {
	for h := range p.width {
		w := p.in[h*65 : h*65+65]
		sum := w[64]
		for j, x := range e.x {
			sum += w[j] * x
		}
		p.hidden[h] = max(sum, 0)
	}
	top := math.Inf(-1)
	for k := range p.p {
		w := p.out[k*(p.width+1) : (k+1)*(p.width+1)]
		sum := w[p.width]
		for h, x := range p.hidden {
			sum += w[h] * x
		}
		p.p[k] = sum
		top = max(top, sum)
	}
	total := 0.0
	for k := range p.p {
		p.p[k] = math.Exp(p.p[k] - top)
		total += p.p[k]
	}
	for k := range p.p {
		p.p[k] /= total
	}
	return -math.Log(p.p[e.digit] + 1e-12)
}

// backward adds the gradient of the example that forward saw last.
func (p *perceptron) backward(e *example) {
	back := make([]float64, p.width)
	for k := range p.p {
		d := p.p[k]
		if k == e.digit {
			d--
		}
		at := k * (p.width + 1)
		for h, x := range p.hidden {
			p.gradOut[at+h] += d * x
			back[h] += d * p.out[at+h]
		}
		p.gradOut[at+p.width] += d
	}
	for h, d := range back {
		if p.hidden[h] <= 0 {
			continue
		}
		g := p.gradIn[h*65 : h*65+65]
		for j, x := range e.x {
			g[j] += d * x
		}
		g[64] += d
	}
}

func step(w, vel, grad []float64, rate, decay, n float64) {
	for i := range w {
		vel[i] = 0.9*vel[i] + grad[i]/n + decay*w[i]
		w[i] -= rate * vel[i]
		grad[i] = 0
	}
}

// curve is the loss on what is held out after each epoch.
func curve(train, held []example, rate, decay float64, width, batch int) []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	p := newPerceptron(width, r)
	var losses []float64
	for range epochs {
		order := r.Perm(len(train))
		for len(order) > 0 {
			n := min(batch, len(order))
			for _, i := range order[:n] {
				p.forward(&train[i])
				p.backward(&train[i])
			}
			step(p.in, p.velIn, p.gradIn, rate, decay, float64(n))
			step(p.out, p.velOut, p.gradOut, rate, decay, float64(n))
			order = order[n:]
		}
		sum := 0.0
		for i := range held {
			sum += p.forward(&held[i])
		}
		losses = append(losses, sum/float64(len(held)))
	}
	return losses
}
