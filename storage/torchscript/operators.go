package torchscript

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed operators.txt
var operatorsText string

// Verdict is what a review said of an operator.
type Verdict int

// Verdicts.
const (
	Unknown Verdict = iota // nobody has looked at it; it is refused
	Refused
	Allowed
)

var verdicts = sync.OnceValue(func() map[string]Verdict { return parseOperators(operatorsText) })

// parseOperators reads the list: "[allowed]" or "[refused: why]" begins a section of lines, each of a namespace and its operators.
func parseOperators(text string) map[string]Verdict {
	all := map[string]Verdict{}
	section := Unknown
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "[allowed"):
			section = Allowed
			continue
		case strings.HasPrefix(line, "["):
			section = Refused
			continue
		}
		space, names, _ := strings.Cut(line, ":")
		for name := range strings.FieldsSeq(names) {
			all[space+"::"+name] = section
		}
	}
	return all
}

// VerdictOf says what the review said of an operator, such as "aten::add"; all of its overloads share it.
func VerdictOf(operator string) Verdict { return verdicts()[operator] }

// Operators returns the names of all operators that a model may use, sorted.
func Operators() []string {
	var allowed []string
	for _, name := range slices.Sorted(maps.Keys(verdicts())) {
		if verdicts()[name] == Allowed {
			allowed = append(allowed, name)
		}
	}
	return allowed
}
