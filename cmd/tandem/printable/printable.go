package printable

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is s as a terminal may get it: what steers a terminal, and what is not text, is written as in Go's quoted
// strings. Names and messages come from files and from programs of users. Lines and tabs stay.
func Text(s string) string {
	if strings.IndexFunc(s, Steers) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !Steers(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// Steers says whether a terminal may take a rune for more than text.
func Steers(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }

// Quoted is a word for a shell to copy: as it is where no shell takes it for more, else in quotes.
func Quoted(word string) string {
	if word != "" && strings.IndexFunc(word, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:@%+=,~", r))
	}) < 0 && word[0] != '~' {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// OneLine is printable text for a cell of a table.
func OneLine(s string) string {
	return Text(strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s))
}
