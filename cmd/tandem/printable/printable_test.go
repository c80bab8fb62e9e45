package printable

import (
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"Zürich 猫 🐈\n\tx": "Zürich 猫 🐈\n\tx", "\x1b[31mred": `\x1b[31mred`, "a\rb\x00\x7f": `a\x0db\x00\x7f`, "\xff\xfe": `\xff\xfe`,
		"a\u202eb": `a\u202eb`, "\u009b31m": `\u009b31m`, "a\u00a0b": "a\u00a0b",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		if got := OneLine(in); strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q: %q", in, got)
		}
	})
}
