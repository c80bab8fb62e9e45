package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// usualColumns is the width of a terminal that does not say how wide it is.
const usualColumns = 80

// columns is how many characters a line on the screen has room for: what COLUMNS says, else the terminal.
func (a *app) columns() int {
	if n, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if a.screen != nil {
		if n := a.screen(); n > 0 {
			return n
		}
	}
	return usualColumns
}

// fit joins the parts that a line has room for, the first one always; what does not fit is left out with all that follows it.
func fit(parts []string, room int) string {
	const gap = "  "
	line := parts[0]
	for _, p := range parts[1:] {
		if utf8.RuneCountInString(line)+len(gap)+utf8.RuneCountInString(p) > room {
			break
		}
		line += gap + p
	}
	return strings.TrimRight(line, " ")
}
