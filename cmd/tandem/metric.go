package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/guptarohit/asciigraph"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const exportPoints = 10_000 // of a series, for programs

func (a *app) metricsCommand() *cobra.Command {
	req := &tandemv1.GetMetricsRequest{}
	var plot bool
	cmd := &cobra.Command{
		Use:   "metrics JOB",
		Short: "Show how a training goes and where its time goes",
		Long: `Show how a training goes: the parts of a step, the goodput ledger (where the whole life of the trial went; it adds up to
100 %), and the last value of each series. A running trial's records come every few seconds. With -o csv there is a line for each
point: series, step, seconds since the trial was created, value.

The series "loss" is that of the training, a mean over the steps since the point before. That of each step alone, over the rows
of rank 0, and the norm of its gradient are the series step.loss and step.grad_norm, which are shown when they are named.`,
		Example: `  tandem metrics digits --plot
  tandem metrics digits --plot --series loss,grad_norm
  tandem metrics digits -o csv > digits.csv
  tandem metrics digits -o csv --series step.loss > steps.csv`,
		Args:              want("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		Annotations:       map[string]string{csvOutput: ""},
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var err error
			if req.Id, err = a.jobID(ctx, c, args[0]); err != nil {
				return err
			}
			if req.GetMaxPoints() == 0 && (a.output == "csv" || a.output == "json" || a.output == "yaml") {
				req.MaxPoints = exportPoints
			}
			res, err := c.Metrics.GetMetrics(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return a.showMetrics(res.Msg, plot, req.GetSeries())
		}),
	}
	cmd.Flags().BoolVar(&plot, "plot", false, "draw curves: the loss, the validation metrics and samples a second, or those of --series")
	cmd.Flags().StringSliceVar(&req.Series, "series", nil, "only these series; step.loss and step.grad_norm are exact for each step")
	quantity.Flag(cmd.Flags(), &req.SinceStep, "since", 0, 0, 0, "only steps after this one")
	quantity.Flag(cmd.Flags(), &req.MaxPoints, "points", 0, 1, exportPoints, "at most this many points a series; neighbours are averaged")
	return cmd
}

func (a *app) showMetrics(m *tandemv1.GetMetricsResponse, plot bool, series []string) error {
	if a.output == "csv" {
		return writeCSV(a.out, m.GetSeries())
	}
	for _, name := range series {
		if !slices.ContainsFunc(m.GetSeries(), func(s *tandemv1.Series) bool { return s.GetName() == name }) {
			return connect.NewError(connect.CodeNotFound, fmt.Errorf("job %s has no points of the series %q: see those it has with `tandem metrics %s`", m.GetJobId(), name, m.GetJobId()))
		}
	}
	parts := []part{
		fields{{"Job", m.GetJobId()}, {"Trial", m.GetTrialId()}, {"Samples/s", rate(m.GetSamplesPerSecond())}},
		stepGrid(m.GetStepTime()), goodputGrid(m.GetGoodput()),
	}
	if plot {
		parts = parts[:1]
		for _, s := range m.GetSeries() {
			if len(series) > 0 || s.GetName() == "loss" || s.GetName() == "samples_per_second" || strings.HasPrefix(s.GetName(), "validation.") {
				parts = append(parts, curve{s, plotWidth(a.columns())})
			}
		}
	} else {
		parts = append(parts, seriesGrid(m.GetSeries()))
	}
	if err := a.show(m, parts...); err != nil {
		return err
	}
	if lost := m.GetLost(); lost > 0 {
		a.say("%s of records were lost while the store was away, or cannot be read.", several(int(lost), "segment"))
	}
	return nil
}

func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return ""
	case perSecond < 100:
		return fmt.Sprintf("%.3g", perSecond)
	}
	return count(int64(math.Round(perSecond)))
}

// figure is a part of a whole.
type figure struct {
	name  string
	value float64
}

func stepParts(t *tandemv1.StepTime) []figure {
	return []figure{
		{"data", t.GetData()}, {"forward", t.GetForward()}, {"backward", t.GetBackward()}, {"communication", t.GetCommunication()},
		{"optimizer", t.GetOptimizer()}, {"checkpoint", t.GetCheckpoint()}, {"other", t.GetOther()},
	}
}

// stepGrid is where the time of a step goes.
func stepGrid(t *tandemv1.StepTime) grid {
	g := grid{title: "Where the time of a step goes", header: []string{"PART", "MS/STEP", "SHARE"}, empty: "No steps are recorded yet."}
	if t.GetSteps() == 0 {
		return g
	}
	g.title += " (" + several(int(t.GetSteps()), "step") + ")"
	whole := 0.0
	shares := percents(stepParts(t))
	for i, p := range stepParts(t) {
		whole += p.value
		g.rows = append(g.rows, []string{p.name, fmt.Sprintf("%.3f", 1e3*p.value/float64(t.GetSteps())), shares[i]})
	}
	g.rows = append(g.rows, []string{"whole", fmt.Sprintf("%.3f", 1e3*whole/float64(t.GetSteps())), sumOf(shares)})
	return g
}

// stepLine is stepGrid in a line, without what takes no time.
func stepLine(t *tandemv1.StepTime) string {
	whole, line := 0.0, ""
	shares := percents(stepParts(t))
	for i, p := range stepParts(t) {
		whole += p.value
		if p.value > 0 {
			line += ", " + p.name + " " + shares[i]
		}
	}
	return fmt.Sprintf("%.3g ms", 1e3*whole/float64(t.GetSteps())) + line
}

// goodputGrid is where the life of a trial went.
func goodputGrid(p *tandemv1.Goodput) grid {
	parts := []figure{
		{"useful", p.GetUseful()}, {"redone", p.GetRedone()}, {"stalled", p.GetStalled()},
		{"waiting", p.GetWaiting()}, {"starting", p.GetStarting()}, {"idle", p.GetIdle()},
	}
	g := grid{title: "Where the life of the trial went", header: []string{"PART", "TIME", "SHARE"}}
	seconds := func(s float64) string { return duration(time.Duration(s * float64(time.Second))) }
	shares := percents(parts)
	for i, part := range parts {
		g.rows = append(g.rows, []string{part.name, seconds(part.value), shares[i]})
	}
	g.rows = append(g.rows, []string{"whole", seconds(p.GetTotal()), sumOf(shares)})
	return g
}

// tenths splits a thousand over the parts of a whole so that nothing is left: each is rounded down, and those with the largest
// rests get what remains. nil for nothing.
func tenths(parts []figure) []int {
	whole := 0.0
	for _, p := range parts {
		whole += max(0, p.value)
	}
	if !(whole > 0) || math.IsInf(whole, 0) {
		return nil
	}
	out, rests, left := make([]int, len(parts)), make([]float64, len(parts)), 1000
	order := make([]int, len(parts))
	for i, p := range parts {
		exact := 1000 * max(0, p.value) / whole
		out[i], order[i] = int(exact), i
		rests[i] = exact - float64(out[i])
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rests[b], rests[a]) })
	for i := 0; left > 0; i = (i + 1) % len(order) {
		out[order[i]]++
		left--
	}
	return out
}

// percents are the shares of the parts, which add up to 100.0 %.
func percents(parts []figure) []string {
	out := make([]string, len(parts))
	for i, t := range tenths(parts) {
		out[i] = fmt.Sprintf("%d.%d %%", t/10, t%10)
	}
	return out
}

// sumOf adds up what percents wrote.
func sumOf(shares []string) string {
	sum := 0
	for _, s := range shares {
		n, _ := strconv.Atoi(strings.Replace(strings.TrimSuffix(s, " %"), ".", "", 1))
		sum += n
	}
	return fmt.Sprintf("%d.%d %%", sum/10, sum%10)
}

func seriesGrid(all []*tandemv1.Series) grid {
	g := grid{title: "Series", header: []string{"NAME", "STEP", "LAST", "MIN", "MAX", "POINTS"}}
	value := func(v float64) string { return fmt.Sprintf("%.5g", v) }
	for _, s := range all {
		n := len(s.GetValues())
		if n == 0 || n != len(s.GetSteps()) {
			continue
		}
		g.rows = append(g.rows, []string{
			s.GetName(), count(s.GetSteps()[n-1]), value(s.GetValues()[n-1]), value(slices.Min(s.GetValues())), value(slices.Max(s.GetValues())), count(n),
		})
	}
	return g
}

func writeCSV(out io.Writer, all []*tandemv1.Series) error {
	w := csv.NewWriter(out)
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	if err := w.Write([]string{"series", "step", "seconds", "value"}); err != nil {
		return err
	}
	for _, s := range all {
		if len(s.GetSteps()) != len(s.GetValues()) || len(s.GetSteps()) != len(s.GetSeconds()) {
			return errors.New("the coordinator answered with points that do not fit together")
		}
		for i, step := range s.GetSteps() {
			row := []string{s.GetName(), strconv.FormatInt(step, 10), number(s.GetSeconds()[i]), number(s.GetValues()[i])}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}

// curve is a series as it is drawn.
type curve struct {
	series *tandemv1.Series
	width  int
}

const (
	curveHeight = 10
	curveLabels = 14 // columns beside the curve
)

// plotWidth is the width of a curve on a screen of this many columns.
func plotWidth(columns int) int { return max(20, min(columns-curveLabels, 200)) }

func (c curve) write(w io.Writer, _ view) {
	s := c.series
	if len(s.GetSteps()) == 0 || len(s.GetSteps()) != len(s.GetValues()) {
		return
	}
	first, last := s.GetSteps()[0], s.GetSteps()[len(s.GetSteps())-1]
	short := func(v float64) string { return fmt.Sprintf("%.4g", v) }
	fmt.Fprintf(w, "\n%s  %s at step %s\n", printable.OneLine(s.GetName()), short(s.GetValues()[len(s.GetValues())-1]), count(last))
	if first == last {
		return
	}
	fmt.Fprintln(w, asciigraph.Plot(evenly(s.GetSteps(), s.GetValues(), c.width), asciigraph.Height(curveHeight), asciigraph.YAxisValueFormatter(short),
		asciigraph.XAxisRange(float64(first), float64(last)), asciigraph.XAxisTickCount(5),
		asciigraph.XAxisValueFormatter(func(v float64) string { return count(int64(math.Round(v))) })))
}

// evenly returns values at n steps that are evenly spread from the first to the last, on the lines between the points.
func evenly(steps []int64, values []float64, n int) []float64 {
	out := make([]float64, n)
	first, last := float64(steps[0]), float64(steps[len(steps)-1])
	j := 0
	for i := range out {
		x := first + (last-first)*float64(i)/float64(n-1)
		for j+2 < len(steps) && float64(steps[j+1]) < x {
			j++
		}
		x0, x1 := float64(steps[j]), float64(steps[j+1])
		share := 0.0
		if x1 > x0 {
			share = max(0, min(1, (x-x0)/(x1-x0)))
		}
		out[i] = values[j] + share*(values[j+1]-values[j])
	}
	return out
}
