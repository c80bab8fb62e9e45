package torchscript

import (
	"bytes"
	"fmt"
	"strings"
)

// Bounds of what is nested in a file of code. libtorch parses and compiles by recursion, and the process ends when its stack does: at some
// thousand levels. PyTorch writes a handful.
const (
	maxNesting   = 200            // brackets in each other; elif in a file
	maxIndent    = 2 * maxNesting // columns; PyTorch indents by two
	maxOperators = 2000           // operators, dots and brackets around one operand
)

// nesting is how deep the place is that is looked at.
type nesting struct {
	open   []int // what is around the operand at each open bracket
	around int   // operators and brackets around the operand at hand
	elifs  int
}

// checkNesting refuses code in the form that checkForm takes that is nested too deeply.
func checkNesting(name string, code []byte) error {
	n := nesting{}
	for at := 0; at < len(code); {
		end := at + 1
		for inWord(code[at]) && end < len(code) && inWord(code[end]) {
			end++
		}
		if end-at > maxName {
			return fmt.Errorf("%w: %s, line %d: a word has more than %d characters", ErrRefused, name, 1+bytes.Count(code[:at], []byte("\n")), maxName)
		}
		if code[at] == '\n' {
			end += len(code[end:]) - len(bytes.TrimLeft(code[end:], " "))
		}
		blank := end == len(code) || code[end] == '\n'
		if deep := n.next(code[at:end], blank); deep != "" {
			return fmt.Errorf("%w: %s, line %d: %s, which is too deep for libtorch; compute it in several statements or functions",
				ErrRefused, name, 1+bytes.Count(code[:end], []byte("\n")), deep)
		}
		at = end
	}
	return nil
}

// next takes a word, a line end with the spaces that follow it, or another character, and says what is too deep there. blank says that the
// line ends after it.
func (n *nesting) next(token []byte, blank bool) string {
	switch first := token[0]; first {
	case '\n':
		if len(n.open) > 0 {
			break
		}
		n.around = 0
		if len(token)-1 > maxIndent && !blank {
			return fmt.Sprintf("the code is indented by more than %d columns", maxIndent)
		}
	case ',':
		n.around = 0
		if len(n.open) > 0 {
			n.around = n.open[len(n.open)-1]
		}
	case '(', '[', '{':
		n.around++
		if n.open = append(n.open, n.around); len(n.open) > maxNesting {
			return fmt.Sprintf("more than %d brackets are open", maxNesting)
		}
	case ')', ']', '}':
		if len(n.open) > 0 {
			n.around, n.open = n.open[len(n.open)-1], n.open[:len(n.open)-1]
		}
	default:
		n.operator(token)
	}
	switch {
	case n.around > maxOperators:
		return fmt.Sprintf("more than %d operators belong to one expression", maxOperators)
	case n.elifs > maxNesting:
		return fmt.Sprintf("there are more than %d elif", maxNesting)
	}
	return ""
}

// operator counts a token that is an operator, or a word that does what one does.
func (n *nesting) operator(token []byte) {
	switch string(token) {
	case "elif":
		n.elifs++
	case "if", "else", "not", "and", "or", "in", "is", "for", "while", "lambda", "with":
		n.around++
	default:
		if strings.IndexByte("-+*/%<>=!&|^~.@:", token[0]) >= 0 {
			n.around++
		}
	}
}

func inWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}
