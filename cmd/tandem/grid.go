package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"

	"tandem.dev/cmd/tandem/printable"
)

const (
	// columnGap is the space between two columns.
	columnGap = 2
	// easyText is how wide a column of text should be; columns are left out before it becomes less.
	easyText = 20
	// kept is how many columns are never left out: what it is, and what is with it.
	kept = 3
	// leastText is how wide it is at least.
	leastText = 6
)

// grid is a table. On a screen it takes the width there is: text is shortened, ids never, and what has no room is left out; -o wide and
// pipes have all of it.
type grid struct {
	title  string
	header []string
	wide   int // number of columns, the last ones, that are shown with -o wide only
	rows   [][]string
	empty  string // what is said when there are no rows
	bare   bool   // without its header, for rows that follow on others
}

func (g grid) write(w io.Writer, v view) {
	if len(g.rows) == 0 {
		if g.empty != "" {
			fmt.Fprintln(w, g.empty)
		}
		return
	}
	if g.title != "" {
		fmt.Fprintf(w, "\n%s\n", printable.OneLine(g.title))
	}
	columns := len(g.header)
	if !v.wide {
		columns -= g.wide
	}
	var lines [][]string
	for _, r := range append([][]string{g.header}, g.rows...) {
		line := make([]string, columns)
		for i, cell := range r[:columns] {
			line[i] = printable.OneLine(cell)
		}
		lines = append(lines, line)
	}
	if v.columns > 0 && !v.wide {
		lines = fitted(lines, v.columns)
	}
	t := table.NewWriter()
	style := table.StyleDefault
	style.Format = table.FormatOptions{} // names of classes are headers too, and their case counts
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", strings.Repeat(" ", columnGap)
	t.SetStyle(style)
	if g.bare {
		lines = lines[1:]
	}
	for i, line := range lines {
		row := make(table.Row, len(line))
		for j, cell := range line {
			row[j] = cell
		}
		if i == 0 && !g.bare {
			t.AppendHeader(row)
			continue
		}
		t.AppendRow(row)
	}
	for line := range strings.Lines(t.Render() + "\n") {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// fitted makes a table, of which the first line is the header, as wide as room at most: columns are left out from the right, but never
// the first few, as long as the widest column of text would have to be narrow; then that is shortened.
func fitted(lines [][]string, room int) [][]string {
	widths, text := make([]int, len(lines[0])), make([]bool, len(lines[0]))
	for i, line := range lines {
		for j, cell := range line {
			widths[j] = max(widths[j], utf8.RuneCountInString(cell))
			text[j] = text[j] || i > 0 && strings.Contains(cell, " ")
		}
	}
	longest := -1 // the widest column of text
	for j, w := range widths {
		if text[j] && (longest < 0 || w > widths[longest]) {
			longest = j
		}
	}
	shown := make([]int, len(widths))
	for j := range shown {
		shown[j] = j
	}
	left := func(least int) int { // what is too much when the text has its least width
		total := -columnGap - room
		if len(shown) < len(widths) {
			total += columnGap + 1
		}
		for _, j := range shown {
			w := widths[j]
			if j == longest {
				w = min(w, least)
			}
			total += w + columnGap
		}
		return total
	}
	for i := len(shown) - 1; i >= kept && left(easyText) > 0; i-- {
		if shown[i] != longest {
			shown = slices.Delete(shown, i, i+1)
		}
	}
	if longest >= kept && left(leastText) > 0 { // not even a word of it has room
		shown, longest = slices.DeleteFunc(shown, func(j int) bool { return j == longest }), -1
	}
	most := 0
	if longest >= 0 {
		most = max(leastText, min(widths[longest], -left(0)))
	}
	var out [][]string
	for n, line := range lines {
		row := make([]string, len(shown), len(shown)+1)
		for i, j := range shown {
			if row[i] = line[j]; j == longest {
				row[i] = short(line[j], most)
			}
		}
		if len(shown) < len(widths) {
			row = append(row, map[bool]string{true: "…"}[n == 0]) // there are more columns
		}
		out = append(out, row)
	}
	return out
}

// wrapped is text in lines of at most width characters, broken between words; a longer word has a line of its own.
func wrapped(text string, width int) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		at := ""
		for i, word := range strings.Split(line, " ") {
			switch {
			case i == 0:
				at = word
			case utf8.RuneCountInString(at)+1+utf8.RuneCountInString(word) > width && strings.TrimSpace(at) != "":
				out, at = append(out, at), word
			default:
				at += " " + word
			}
		}
		out = append(out, at)
	}
	return strings.Join(out, "\n")
}
