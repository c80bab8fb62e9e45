package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestGridKeepsWhatItIsGiven: case, length where nobody has to fit it on a screen, and no way to steer the terminal.
func TestGridKeepsWhatItIsGiven(t *testing.T) {
	long := strings.Repeat("because ", 30) + "end"
	g := grid{header: []string{"SPLIT", "iris-Setosa", "\x1b[2J", "REASON"}, rows: [][]string{{"train", "\x1b]0;x\a", "1", long + "\nmore"}}}
	var b strings.Builder
	g.write(&b, view{})
	for _, want := range []string{"SPLIT", "iris-Setosa", `\x1b[2J`, `\x1b]0;x\x07`, long + " more"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	g.write(&b, view{columns: 80})
	if lines := strings.Split(b.String(), "\n"); utf8.RuneCountInString(lines[1]) > 80 || !strings.HasSuffix(lines[1], "…") {
		t.Errorf("not cut to the screen:\n%s", b.String())
	}
	b.Reset()
	g.write(&b, view{columns: 80, wide: true})
	if !strings.Contains(b.String(), long) {
		t.Errorf("wide is cut:\n%s", b.String())
	}
}
