package picture

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// parallel is a plotter of parallel coordinates: an axis for each hyper-parameter and one for the value; each trial is a line through all of them.
// Below the axes is the place of hyper-parameters that a trial does not have.
type parallel struct {
	axes   []Axis
	absent []bool // by axis: some trial does not have it
	lines  []polyline
}

// polyline is a trial: a height on each axis, those that do not exist below all axes.
type polyline struct {
	at    []float64
	good  float64 // 0 is the worst, 1 the best
	thick bool
}

const (
	axisLow, axisHigh, axisAbsent = 0.16, 0.88, 0.06 // heights in the plot
	maxAxes                       = 16
)

// coordinates are the parallel coordinates of a sweep.
func (s Sweep) coordinates() *plot.Plot {
	p := newPlot("Parallel coordinates: hyper-parameters and "+s.Metric+", the best darkest", "", "")
	p.HideAxes()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	p.Add(s.parallel())
	return p
}

func (s Sweep) parallel() *parallel {
	n := min(len(s.Axes), maxAxes)
	all := s.ranked()
	scale := s.scale(all)
	c := &parallel{axes: append(s.Axes[:n:n], scale.axis(s.Metric)), absent: make([]bool, n)}
	ranked := drawn(all)
	for i := len(ranked) - 1; i >= 0; i-- { // the best are on top
		t := ranked[i]
		line := polyline{thick: i < bestDrawn, good: 1}
		for k, v := range t.Values[:n] {
			if v.Absent {
				c.absent[k] = true
				line.at = append(line.at, axisAbsent)
				continue
			}
			line.at = append(line.at, height(v.At))
		}
		value := scale.place(t.Best)
		if line.good = value; !s.Max {
			line.good = 1 - value
		}
		line.at = append(line.at, height(value))
		c.lines = append(c.lines, line)
	}
	return c
}

func height(at float64) float64 { return axisLow + (axisHigh-axisLow)*max(0, min(1, at)) }

// scale is the axis of the values. It shows the best three quarters, so that one diverged trial leaves the others to be told apart.
type scale struct {
	low, high float64
	below     bool // there are values below low
	above     bool // there are values above high
	known     bool // there are values
}

func (s Sweep) scale(ranked []Trial) scale {
	if len(ranked) == 0 {
		return scale{}
	}
	best, worst, last := ranked[0].Best, ranked[(len(ranked)-1)*3/4].Best, ranked[len(ranked)-1].Best
	return scale{low: min(best, worst), high: max(best, worst), below: last < min(best, worst), above: last > max(best, worst), known: true}
}

// place of a value on the axis.
func (s scale) place(v float64) float64 {
	if s.low == s.high {
		return 0.5
	}
	return max(0, min(1, (v-s.low)/(s.high-s.low)))
}

func (s scale) axis(name string) Axis {
	a := Axis{Name: name}
	switch {
	case !s.known:
		return a
	case s.low == s.high:
		a.Ticks = []Tick{{0.5, fmt.Sprintf("%.4g", s.low)}}
		return a
	}
	for _, at := range []float64{0, 0.25, 0.5, 0.75, 1} {
		a.Ticks = append(a.Ticks, Tick{at, fmt.Sprintf("%.4g", s.low+at*(s.high-s.low))})
	}
	if s.below {
		a.Ticks[0].Text = "≤ " + a.Ticks[0].Text
	}
	if s.above {
		a.Ticks[4].Text = "≥ " + a.Ticks[4].Text
	}
	return a
}

// Plot implements plot.Plotter.
func (c *parallel) Plot(canvas draw.Canvas, p *plot.Plot) {
	x := func(i int) vg.Length { // the last axis leaves room for its texts
		return canvas.X(0.04 + 0.88*float64(i)/float64(max(1, len(c.axes)-1)))
	}
	y := func(at float64) vg.Length { return canvas.Y(at) }
	for _, l := range c.lines {
		style := draw.LineStyle{Color: shade(1 - l.good), Width: vg.Points(0.8)}
		if l.thick {
			style.Width = vg.Points(2)
		}
		points := make([]vg.Point, len(l.at))
		for i, at := range l.at {
			points[i] = vg.Point{X: x(i), Y: y(at)}
		}
		canvas.StrokeLines(style, points)
	}
	label := p.X.Tick.Label
	label.XAlign, label.YAlign = text.XLeft, text.YCenter
	head := p.X.Label.TextStyle
	head.Font.Size, head.XAlign, head.YAlign = 10, text.XCenter, text.YBottom
	line := draw.LineStyle{Color: grey, Width: vg.Points(1)}
	room := 120 / max(1, len(c.axes)) // letters of a name
	for i, a := range c.axes {
		canvas.StrokeLine2(line, x(i), y(axisLow), x(i), y(axisHigh))
		up := y(axisHigh) + vg.Points(6+float64(i%2)*12) // names of neighbours do not touch
		canvas.FillText(head, vg.Point{X: x(i), Y: up}, short(a.Name, max(8, room)))
		for _, t := range thin(a.Ticks) {
			at := y(height(t.At))
			canvas.StrokeLine2(line, x(i)-vg.Points(3), at, x(i)+vg.Points(3), at)
			canvas.FillText(label, vg.Point{X: x(i) + vg.Points(5), Y: at}, short(t.Text, max(6, room)))
		}
		if i < len(c.absent) && c.absent[i] {
			dashed := line
			dashed.Dashes = []vg.Length{vg.Points(2), vg.Points(2)}
			canvas.StrokeLine2(dashed, x(i), y(axisAbsent), x(i), y(axisLow))
			canvas.FillText(label, vg.Point{X: x(i) + vg.Points(5), Y: y(axisAbsent)}, "absent")
		}
	}
}

// thin leaves out ticks that would touch; the ends stay.
func thin(ticks []Tick) []Tick {
	const most = 12
	if len(ticks) <= most {
		return ticks
	}
	var some []Tick
	for i := range most {
		some = append(some, ticks[int(math.Round(float64(i)*float64(len(ticks)-1)/(most-1)))])
	}
	return some
}
