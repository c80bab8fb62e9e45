package picture

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// curves are the metric over the training: the best in colour, the others behind.
func (s Sweep) curves() (*plot.Plot, error) {
	p := newPlot("Validation "+s.Metric+" of the trials", "share of the training (%)", s.Metric)
	ranked := drawn(s.ranked())
	var values []float64
	for i := len(ranked) - 1; i >= 0; i-- { // the best are on top
		t := ranked[i]
		var xy plotter.XYs
		for _, v := range t.Curve {
			xy, values = append(xy, plotter.XY{X: v.X, Y: v.Y}), append(values, v.Y)
		}
		if len(xy) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(xy)
		if err != nil {
			return nil, fmt.Errorf("draw the curve of trial %d: %w", t.Number, err)
		}
		line.Color, line.Width = pale, vg.Points(0.7)
		dots.Color, dots.Shape, dots.Radius = pale, draw.CircleGlyph{}, vg.Points(1)
		if i < bestDrawn {
			line.Color, line.Width = lineColors[i], vg.Points(1.6)
			dots.Color, dots.Radius = lineColors[i], vg.Points(1.8)
		}
		p.Add(line, dots)
	}
	for i, t := range ranked[:min(bestDrawn, len(ranked))] {
		p.Legend.Add(fmt.Sprintf("trial %d: %.4g", t.Number, t.Best), swatch{lineColors[i]})
	}
	// On the right, but with the texts to the right of the lines: a machine's letters may be wider than was reckoned with.
	p.Legend.Top, p.Legend.Left, p.Legend.XOffs = !s.Max, true, width-180
	p.Legend.Padding = vg.Points(1)
	p.X.Min, p.X.Max = 0, 100
	if !logarithmic(&p.Y, values) && s.crop(&p.Y, values) {
		p.Title.Text += " (without the worst tenth of the values)"
	}
	return p, nil
}

// crop leaves the worst tenth of the values out of an axis when they take more than half of it: those of the first evaluations leave no room
// to tell the trials apart.
func (s Sweep) crop(a *plot.Axis, values []float64) bool {
	if len(values) == 0 {
		return false
	}
	all := slices.Sorted(slices.Values(values))
	low, high, tenth := all[0], all[len(all)-1], len(all)/10
	switch most, least := all[tenth], all[len(all)-1-tenth]; {
	case s.Max && most-low > (high-low)/2:
		a.Min = most
	case !s.Max && high-least > (high-low)/2:
		a.Max = least
	default:
		return false
	}
	return true
}

// swatch is a line in a legend.
type swatch struct{ color color.Color }

func (s swatch) Thumbnail(c *draw.Canvas) {
	c.StrokeLine2(draw.LineStyle{Color: s.color, Width: vg.Points(1.6)}, c.Min.X, c.Center().Y, c.Max.X, c.Center().Y)
}

// course is the value of each trial, and the best so far.
func (s Sweep) course() (*plot.Plot, error) {
	p := newPlot("Best so far", "trial", s.Metric)
	var each, best plotter.XYs
	var values []float64
	for _, t := range s.Trials {
		x := float64(t.Number)
		if t.Measured {
			each, values = append(each, plotter.XY{X: x, Y: t.Best}), append(values, t.Best)
		}
		switch {
		case t.Measured && (len(best) == 0 || s.better(t.Best, best[len(best)-1].Y)):
			best = append(best, plotter.XY{X: x, Y: t.Best})
		case len(best) > 0:
			best = append(best, plotter.XY{X: x, Y: best[len(best)-1].Y})
		}
	}
	if len(each) == 0 {
		return p, nil
	}
	dots, err := plotter.NewScatter(each)
	if err != nil {
		return nil, fmt.Errorf("draw the values of trials: %w", err)
	}
	dots.Color, dots.Shape, dots.Radius = color.Gray{0x99}, draw.CircleGlyph{}, vg.Points(1.8)
	line, err := plotter.NewLine(best)
	if err != nil {
		return nil, fmt.Errorf("draw the best so far: %w", err)
	}
	line.StepStyle, line.Color, line.Width = plotter.PostStep, lineColors[0], vg.Points(1.8)
	p.Add(dots, line)
	p.X.Min, p.X.Max = 0.5, float64(s.Trials[len(s.Trials)-1].Number)+0.5
	logarithmic(&p.Y, values)
	return p, nil
}

// logarithmic gives an axis a logarithmic scale when its values are above 0 and of very different sizes: one diverged trial leaves the others to be told apart.
func logarithmic(a *plot.Axis, values []float64) bool {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	if low <= 0 || high <= 50*low {
		return false
	}
	a.Scale, a.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 3}
	return true
}

// bars are the importance of each hyper-parameter.
func (s Sweep) bars() (*plot.Plot, error) {
	p := newPlot("Importance of the hyper-parameters (PED-ANOVA)", "share (%)", "")
	var values plotter.Values
	var names []string
	for i := len(s.Importance) - 1; i >= 0; i-- { // the first is on top
		values, names = append(values, 100*s.Importance[i].Share), append(names, fmt.Sprintf("%s\u00a0\u00a0%.1f\u00a0%%\u00a0\u00a0", short(s.Importance[i].Name, 28), 100*s.Importance[i].Share))
	}
	if len(values) == 0 {
		return p, nil
	}
	chart, err := plotter.NewBarChart(values, vg.Points(max(4, min(18, 150/float64(len(values))))))
	if err != nil {
		return nil, fmt.Errorf("draw the importance: %w", err)
	}
	chart.Horizontal, chart.Color = true, lineColors[0]
	chart.LineStyle.Width = 0
	p.Add(chart)
	p.NominalY(names...)
	p.X.Min, p.X.Max = 0, 100
	return p, nil
}
