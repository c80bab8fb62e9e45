package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/guptarohit/asciigraph"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/picture"
	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) sweepPlotCommand() *cobra.Command {
	var file string
	var best int
	c := csvCommand(&cobra.Command{
		Use:   "plot SWEEP",
		Short: "Draw a sweep: curves, best so far, where good trials lie; in the terminal or as an SVG or HTML file",
		Long: `Draw a sweep: the validation curves of the best trials, the best value so far over the trials, and where in the space the best trials
lie. With --file it is one SVG or HTML file that needs nothing else: it has parallel coordinates, the importance of each hyper-parameter and a table
too. With -o csv there is a line for each point of each curve: trial, step, share, value.`,
		Example: `  tandem sweep plot digits-asha
  tandem sweep plot digits-asha --file digits.html
  tandem sweep plot digits-asha -o csv > curves.csv`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			kind := strings.ToLower(filepath.Ext(file))
			if file != "" && kind != ".svg" && kind != ".html" {
				return &usageError{fmt.Errorf("--file %s: the name must end in .svg or .html", file)}
			}
			s, trials, err := sweepAndTrials(ctx, c, args[0])
			if err != nil {
				return err
			}
			res, err := c.Sweeps.GetCurves(ctx, connect.NewRequest(&tandemv1.GetCurvesRequest{Id: s.GetSweep().GetId()}))
			if err != nil {
				return err
			}
			curves := res.Msg
			if file != "" {
				if err := drawFile(ctx, c, file, kind, s, trials, curves); err != nil {
					return err
				}
				a.say("Drawn: %s", file)
				return nil
			}
			parts := plotParts(s, trials, curves, best, a.terminal && a.getenv("NO_COLOR") == "", plotWidth(a.columns()))
			return a.showRecords(curves, func() [][]string { return curveRecords(curves) }, parts...)
		}),
	})
	c.Flags().StringVar(&file, "file", "", "write an .svg or .html file instead")
	quantity.Flag(c.Flags(), &best, "best", 5, 1, 20, "curves of this many of the best trials, and their places in the space")
	return c
}

// drawFile writes a picture to a file, all of it or nothing.
func drawFile(
	ctx context.Context, c *client.Client, path, kind string,
	s *tandemv1.GetSweepResponse, trials []*tandemv1.Trial, curves *tandemv1.GetCurvesResponse,
) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tandem-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	importance, err := c.Sweeps.GetImportance(ctx, connect.NewRequest(&tandemv1.GetImportanceRequest{Id: s.GetSweep().GetId()}))
	if connect.CodeOf(err) == connect.CodeFailedPrecondition { // it needs some trials
		importance, err = connect.NewResponse(&tandemv1.GetImportanceResponse{}), nil
	}
	if err != nil {
		return err
	}
	draw := pictureOf(s, trials, curves.GetCurves(), importance.Msg.GetImportance())
	if kind == ".svg" {
		err = draw.SVG(f)
	} else {
		err = draw.HTML(f)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = f.Chmod(0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// curveRecords are all points of all curves for programs, by the numbers of the trials.
func curveRecords(curves *tandemv1.GetCurvesResponse) [][]string {
	rows := [][]string{{"trial", "step", "share", "value"}}
	byNumber := func(a, b *tandemv1.Curve) int { return cmp.Compare(a.GetTrial(), b.GetTrial()) }
	for _, c := range slices.SortedFunc(slices.Values(curves.GetCurves()), byNumber) {
		for _, p := range c.GetPoints() {
			rows = append(rows, []string{number(c.GetTrial()), number(p.GetStep()), exact(p.GetShare()), exact(p.GetValue())})
		}
	}
	return rows
}

// plotParts is a sweep as a terminal can show it.
func plotParts(
	s *tandemv1.GetSweepResponse, trials []*tandemv1.Trial, curves *tandemv1.GetCurvesResponse, best int, colours bool, width int,
) []part {
	drawn := curves.GetCurves()[:min(best, len(curves.GetCurves()))]
	if len(drawn) == 0 {
		return []part{text("No trial was measured yet.")}
	}
	var top []*tandemv1.Trial
	for _, c := range drawn {
		if i := slices.IndexFunc(trials, func(t *tandemv1.Trial) bool { return t.GetNumber() == c.GetTrial() }); i >= 0 {
			top = append(top, trials[i])
		}
	}
	return []part{
		curvesPart{curves.GetMetric(), drawn, width, colours},
		coursePart{curves.GetMetric(), curves.GetCourse(), width},
		placesPart{s.GetJob(), trials, top, width},
	}
}

// curvesPart is the curves of some trials over the share of the training.
type curvesPart struct {
	metric  string
	curves  []*tandemv1.Curve
	width   int
	colours bool
}

var plotColours = []asciigraph.AnsiColor{asciigraph.Blue, asciigraph.Orange, asciigraph.Green, asciigraph.Purple, asciigraph.Gold, asciigraph.Cyan}

func (c curvesPart) write(w io.Writer, _ view) {
	fmt.Fprintf(w, "\nValidation %s of the best %s\n", printable.OneLine(c.metric), several(len(c.curves), "trial"))
	var series [][]float64
	var names []string
	for _, of := range c.curves {
		name := fmt.Sprintf("trial %d", of.GetTrial())
		fmt.Fprintf(w, "%s: %.4g at step %s\n", name, of.GetBestValue(), count(of.GetBestStep()))
		if line, ok := overShares(of.GetPoints(), c.width); ok {
			series, names = append(series, line), append(names, name)
		}
	}
	if len(series) == 0 {
		return // a single point each, and these are said above
	}
	options := []asciigraph.Option{
		asciigraph.Height(curveHeight), asciigraph.YAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%.4g", v) }),
		asciigraph.XAxisRange(0, 100), asciigraph.XAxisTickCount(5), asciigraph.XAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%.0f %%", v) }),
	}
	if c.colours {
		var used []asciigraph.AnsiColor
		for i := range series {
			used = append(used, plotColours[i%len(plotColours)])
		}
		options = append(options, asciigraph.SeriesColors(used...), asciigraph.SeriesLegends(names...))
	}
	fmt.Fprintln(w, asciigraph.PlotMany(series, options...))
}

// overShares are values of a curve at n shares that are evenly spread from 0 to 1, not a number where it was not measured; false when
// there is no line to draw.
func overShares(points []*tandemv1.CurvePoint, n int) ([]float64, bool) {
	if len(points) < 2 {
		return nil, false
	}
	share := func(i int) float64 { return points[i].GetShare() }
	out := make([]float64, n)
	k := 0
	for i := range out {
		x := float64(i) / float64(n-1)
		if x < share(0) || x > share(len(points)-1) {
			out[i] = math.NaN()
			continue
		}
		for k+2 < len(points) && share(k+1) < x {
			k++
		}
		at := 0.0
		if share(k+1) > share(k) {
			at = max(0, min(1, (x-share(k))/(share(k+1)-share(k))))
		}
		out[i] = points[k].GetValue() + at*(points[k+1].GetValue()-points[k].GetValue())
	}
	return out, true
}

// coursePart is the best value so far over the trials.
type coursePart struct {
	metric string
	course []*tandemv1.CoursePoint
	width  int
}

func (c coursePart) write(w io.Writer, _ view) {
	if len(c.course) < 2 {
		return
	}
	var numbers []int64
	var values []float64
	for _, p := range c.course {
		numbers, values = append(numbers, int64(p.GetTrial())), append(values, p.GetValue())
	}
	fmt.Fprintf(w, "\nBest %s so far, by trial\n", printable.OneLine(c.metric))
	fmt.Fprintln(w, asciigraph.Plot(evenly(numbers, values, c.width), asciigraph.Height(curveHeight/2),
		asciigraph.YAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%.4g", v) }),
		asciigraph.XAxisRange(float64(numbers[0]), float64(numbers[len(numbers)-1])), asciigraph.XAxisTickCount(5),
		asciigraph.XAxisValueFormatter(func(v float64) string { return count(int64(math.Round(v))) })))
}

// placesPart shows for each hyper-parameter where on its axis the trials lie, and the best among them: what parallel coordinates say, line by line.
type placesPart struct {
	job         *tandemv1.Job
	trials, top []*tandemv1.Trial
	width       int
}

func (p placesPart) write(w io.Writer, _ view) {
	fmt.Fprintf(w, "\nWhere the best %s (●) of %s (·) lie\n", several(len(p.top), "trial"), count(len(p.trials)))
	places := placesOf(p.job)
	names := shortNames(places)
	most := 0
	for i := range names {
		names[i] = short(printable.OneLine(names[i]), 20)
		most = max(most, len([]rune(names[i])))
	}
	for i, place := range places {
		axis := picture.DomainOf(p.job.GetSpec().GetSearch().GetSpace()[place], plainText)
		line := []rune(strings.Repeat(" ", max(10, p.width-most-24)))
		missing, missingTop := 0, 0
		mark := func(t *tandemv1.Trial, m rune) bool {
			v, ok := t.GetParameters().AsMap()[place]
			if ok {
				line[int(math.Round(axis.At(v)*float64(len(line)-1)))] = m
			}
			return ok
		}
		for _, t := range p.trials {
			if !mark(t, '·') {
				missing++
			}
		}
		for _, t := range p.top {
			if !mark(t, '●') {
				missingTop++
			}
		}
		low, high := axis.Ends()
		fmt.Fprintf(w, "%-*s %9s ┤%s├ %s\n", most, names[i], short(printable.OneLine(low), 9), string(line),
			short(printable.OneLine(high), 12))
		if missing > 0 {
			fmt.Fprintf(w, "%*s absent in %s, of the best in %d\n", most+11, "", count(missing), missingTop)
		}
	}
}

func (a *app) sweepImportanceCommand() *cobra.Command {
	return csvCommand(&cobra.Command{
		Use:   "importance SWEEP",
		Short: "Show how much of what makes a trial good lies in each hyper-parameter",
		Long: `Show how much of what makes a trial good lies in each hyper-parameter, by PED-ANOVA (Watanabe, Bansal and Hutter, 2023): how far the
distribution of each among the best quarter of the trials is from that among all. The shares add up to 100 %. It needs 10 trials that were measured.`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Sweeps.GetImportance(ctx, connect.NewRequest(&tandemv1.GetImportanceRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			g := grid{header: []string{"HYPER-PARAMETER", "SHARE", ""}}
			rows := [][]string{{"parameter", "share"}}
			for _, i := range res.Msg.GetImportance() {
				bar := strings.Repeat("█", int(math.Round(30*i.GetShare())))
				g.rows = append(g.rows, []string{i.GetParameter(), fmt.Sprintf("%.1f %%", 100*i.GetShare()), bar})
				rows = append(rows, []string{i.GetParameter(), exact(i.GetShare())})
			}
			return a.showRecords(res.Msg, func() [][]string { return rows }, g)
		}),
	})
}
