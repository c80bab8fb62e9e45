package picture

import (
	"bytes"
	_ "embed" // page.html
	"fmt"
	"html/template"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes in points.
const (
	width, full   = vg.Length(900), vg.Length(300)
	rowsInSVG     = 15
	rowsInPage    = 1000
	rowHeight     = vg.Length(15)
	marginOfTable = vg.Length(40)
)

//go:embed page.html
var page string

// panel is a figure with its height.
type panel struct {
	plot   *plot.Plot
	height vg.Length
}

// panels of a sweep: the curves, the course, the parallel coordinates, the importance if it is known.
func (s Sweep) panels() ([]panel, error) {
	curves, err := s.curves()
	if err != nil {
		return nil, err
	}
	course, err := s.course()
	if err != nil {
		return nil, err
	}
	all := []panel{{curves, full}, {course, full * 0.75}, {s.coordinates(), full}}
	if len(s.Importance) > 0 {
		bars, err := s.bars()
		if err != nil {
			return nil, err
		}
		all = append(all, panel{bars, vg.Length(70 + min(16, len(s.Importance))*22)})
	}
	return all, nil
}

// SVG writes all panels below each other, and the best trials as a table.
func (s Sweep) SVG(w io.Writer) error {
	panels, err := s.panels()
	if err != nil {
		return err
	}
	table := s.table()
	head := vg.Length(30 + 15*len(s.Facts))
	height := head + marginOfTable + rowHeight*vg.Length(len(table))
	for _, p := range panels {
		height += p.height
	}
	canvas := vgsvg.New(width, height)
	c := draw.New(canvas)
	c.SetColor(plot.New().BackgroundColor)
	c.Fill(vg.Rectangle{Max: vg.Point{X: width, Y: height}}.Path())
	style := newPlot("", "", "").X.Label.TextStyle
	style.XAlign, style.YAlign, style.Font = text.XLeft, text.YTop, sans(16)
	c.FillText(style, vg.Point{X: 12, Y: height - 8}, short(s.Title, 90))
	style.Font = sans(11)
	for i, f := range s.Facts {
		c.FillText(style, vg.Point{X: 12, Y: height - vg.Length(30+15*i)}, short(f[0]+": "+f[1], 150))
	}
	top := height - head
	for _, p := range panels {
		p.plot.Draw(draw.Crop(c, 10, -10, top-p.height+5, top-5-height))
		top -= p.height
	}
	writeTable(c, table, top)
	return write(w, canvas)
}

// table is a head and the best trials.
func (s Sweep) table() [][]string {
	head := []string{"trial", "state", s.Metric}
	for _, a := range s.Axes[:min(len(s.Axes), maxAxes)] {
		head = append(head, a.Name)
	}
	rows := [][]string{head}
	ranked := s.ranked()
	for _, t := range ranked[:min(rowsInSVG, len(ranked))] {
		row := []string{fmt.Sprint(t.Number), t.State, fmt.Sprintf("%.4g", t.Best)}
		for _, v := range t.Values[:min(len(s.Axes), maxAxes)] {
			row = append(row, v.text())
		}
		rows = append(rows, row)
	}
	return rows
}

func (v Value) text() string {
	if v.Absent {
		return "–"
	}
	return v.Text
}

func writeTable(c draw.Canvas, rows [][]string, top vg.Length) {
	style := newPlot("", "", "").X.Label.TextStyle
	style.XAlign, style.YAlign, style.Font = text.XLeft, text.YTop, sans(13)
	c.FillText(style, vg.Point{X: 12, Y: top - 6}, "Best trials")
	style.Font = sans(9)
	column := (width - 24) / vg.Length(len(rows[0]))
	for i, row := range rows {
		y := top - 28 - rowHeight*vg.Length(i)
		for k, cell := range row {
			c.FillText(style, vg.Point{X: 12 + column*vg.Length(k), Y: y}, short(cell, max(3, int(column/5))))
		}
	}
}

// write an SVG with fonts that every machine has one of.
func write(w io.Writer, canvas *vgsvg.Canvas) error {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return fmt.Errorf("write SVG: %w", err)
	}
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")))
	return err
}

// HTML writes a page with all panels and the table of all trials.
func (s Sweep) HTML(w io.Writer) error {
	panels, err := s.panels()
	if err != nil {
		return err
	}
	t, err := template.New("page").Parse(page)
	if err != nil {
		return fmt.Errorf("read the template of the page: %w", err)
	}
	data := pageData{Title: clean(s.Title), Metric: clean(s.Metric)}
	for _, f := range s.Facts {
		data.Facts = append(data.Facts, [2]string{clean(f[0]), clean(f[1])})
	}
	for _, p := range panels {
		canvas := vgsvg.New(width, p.height)
		p.plot.Draw(draw.Crop(draw.New(canvas), 10, -10, 5, -5))
		var b bytes.Buffer
		if err := write(&b, canvas); err != nil {
			return err
		}
		_, svg, _ := bytes.Cut(b.Bytes(), []byte("?>"))                                               // the declaration is for files of their own
		data.Figures = append(data.Figures, pageFigure{clean(p.plot.Title.Text), template.HTML(svg)}) //nolint:gosec // vgsvg escapes the texts in it
	}
	for _, a := range s.Axes {
		data.Axes = append(data.Axes, clean(a.Name))
	}
	s.pageRows(&data)
	return t.Execute(w, data)
}

// pageData is what page.html shows.
type pageData struct {
	Title, Metric, Note string
	Facts               [][2]string
	Figures             []pageFigure
	Axes                []string
	Rows                []pageRow
}

type pageFigure struct {
	Title string
	SVG   template.HTML
}

type pageRow struct {
	Number               int
	State, Share, Reason string
	Best                 string
	Values               []Value
}

// pageRows are the trials, best first, then those that were not measured.
func (s Sweep) pageRows(data *pageData) {
	all := s.ranked()
	for _, t := range s.Trials {
		if !t.Measured {
			all = append(all, t)
		}
	}
	if len(all) > rowsInPage {
		data.Note = fmt.Sprintf("The best %d of %d trials.", rowsInPage, len(all))
		all = all[:rowsInPage]
	}
	for _, t := range all {
		row := pageRow{Number: t.Number, State: clean(t.State), Share: clean(t.Share), Reason: clean(t.Reason)}
		if t.Measured {
			row.Best = fmt.Sprintf("%.6g", t.Best)
		}
		for _, v := range t.Values {
			v.Text = clean(v.Text)
			row.Values = append(row.Values, v)
		}
		data.Rows = append(data.Rows, row)
	}
}
