package picture

import (
	"image/color"
	"math"
	"slices"
	"strings"
	"unicode"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// Sweep is what is drawn.
type Sweep struct {
	Title string
	// Facts are names and values above the figures.
	Facts [][2]string
	// Metric names the values; Max: higher ones are better.
	Metric string
	Max    bool
	// Axes are the hyper-parameters, in the order of Trial.Values.
	Axes []Axis
	// Trials are all of the sweep, by number.
	Trials []Trial
	// Importance of each hyper-parameter, most important first; empty: not known.
	Importance []Bar
}

// Axis is the domain of a hyper-parameter.
type Axis struct {
	Name string
	// Ticks name places on the axis.
	Ticks []Tick
}

// Tick is a place on an axis, 0 to 1.
type Tick struct {
	At   float64
	Text string
}

// Trial is one row.
type Trial struct {
	Number int
	State  string
	// Values of the hyper-parameters.
	Values []Value
	// Curve is the metric by the share of the training in percent, in order.
	Curve []Point
	// Best is the best value; Measured: there is one.
	Best     float64
	Measured bool
	// Share of the training that was done, for people, and why the trial is where it is.
	Share, Reason string
}

// Value of a hyper-parameter in a trial.
type Value struct {
	// Absent: its condition does not hold in this trial.
	Absent bool
	At     float64 // place on the axis, 0 to 1
	Text   string
}

// Point of a curve.
type Point struct{ X, Y float64 }

// Bar is a share of 0 to 1 with a name.
type Bar struct {
	Name  string
	Share float64
}

// bestDrawn is how many of the best trials have a colour of their own, othersDrawn how many of the others are drawn at most.
const (
	bestDrawn   = 6
	othersDrawn = 400
)

// lineColors are those of Okabe and Ito (2008), without yellow, which is too light for a thin line.
var lineColors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
}

var grey, pale = color.Gray{0x55}, color.Gray{0xc8}

// viridis at even distances.
var viridis = []color.RGBA{
	{0x44, 0x01, 0x54, 0xff}, {0x47, 0x2d, 0x7b, 0xff}, {0x3b, 0x52, 0x8b, 0xff}, {0x2c, 0x72, 0x8e, 0xff}, {0x21, 0x91, 0x8c, 0xff},
	{0x28, 0xae, 0x80, 0xff}, {0x5e, 0xc9, 0x62, 0xff}, {0xad, 0xdc, 0x30, 0xff}, {0xfd, 0xe7, 0x25, 0xff},
}

// shade is the colour of 0 (dark) to 1 (light).
func shade(at float64) color.RGBA {
	x := max(0, min(1, at)) * float64(len(viridis)-1)
	i := min(int(x), len(viridis)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (x-float64(i))*(float64(b)-float64(a)))) }
	a, b := viridis[i], viridis[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// better says whether value a is better than b.
func (s Sweep) better(a, b float64) bool {
	if s.Max {
		return a > b
	}
	return a < b
}

// ranked are the trials that were measured, best first.
func (s Sweep) ranked() []Trial {
	var all []Trial
	for _, t := range s.Trials {
		if t.Measured {
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(a, b Trial) int {
		switch {
		case s.better(a.Best, b.Best):
			return -1
		case s.better(b.Best, a.Best):
			return 1
		}
		return 0
	})
	return all
}

// drawn are the best of the ranked trials, and as many of the others as can be told apart, evenly taken.
func drawn(ranked []Trial) []Trial {
	n := len(ranked) - bestDrawn
	if n <= othersDrawn {
		return ranked
	}
	some := slices.Clone(ranked[:bestDrawn])
	for i := range othersDrawn {
		some = append(some, ranked[bestDrawn+i*n/othersDrawn])
	}
	return some
}

// clean is a text without what no XML may hold and what nobody sees.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// short is a clean text of at most n letters.
func short(s string, n int) string {
	if r := []rune(clean(s)); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return clean(s)
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// newPlot has the looks that all share.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = clean(title), clean(x), clean(y)
	p.Title.TextStyle.Font = sans(13)
	p.Title.Padding = 6
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(11), sans(9)
		a.LineStyle.Color, a.Tick.LineStyle.Color = grey, grey
	}
	p.Legend.TextStyle.Font = sans(9)
	return p
}
