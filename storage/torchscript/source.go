package torchscript

import (
	"bytes"
	"fmt"
	"regexp"
)

var (
	// literalRE is a string or a comment, in which names mean nothing; as libtorch reads them, which takes three quotes for a long string and
	// any character after a backslash as a part of it. One that does not end matches too, or each of many would be searched to the end.
	literalRE = regexp.MustCompile(`"""(?s:\\.|[^\\])*?(?:"""|\\?\z)|'''(?s:\\.|[^\\])*?(?:'''|\\?\z)|` +
		`"(?:[^"\\\n]|(?s:\\.))*"?|'(?:[^'\\\n]|(?s:\\.))*'?|#[^\n]*`)
	// callRE finds an operator as the serializer writes it: torch.NAME, or ops.SPACE.NAME for what is not aten. What follows a dot, as in
	// __torch__.torch.nn, is part of the name of a class.
	callRE = regexp.MustCompile(`(?:^|[^.\w])(?:torch\s*\.\s*(?:autograd\s*\.\s*)?(\w+)|ops\s*\.\s*(\w+)\s*\.\s*(\w+))`)
	// customRE finds the classes that C++ libraries register.
	customRE = regexp.MustCompile(`__torch__\s*\.\s*torch\s*\.\s*classes\s*\.\s*([\w.]+)`)
)

// checkSource refuses code that names an operator or a class that a model may not use.
func checkSource(name string, code []byte) error {
	code = withoutLiterals(code)
	if err := checkForm(name, code); err != nil {
		return err
	}
	if err := checkNesting(name, code); err != nil {
		return err
	}
	if m := customRE.FindSubmatch(code); m != nil {
		return fmt.Errorf("%w: %s uses the class %s of a C++ library", ErrRefused, name, m[1])
	}
	for { // one after the other: a hostile file has a million
		m := callRE.FindSubmatchIndex(code)
		if m == nil {
			return nil
		}
		operator := "aten::"
		if m[2] >= 0 {
			operator += string(code[m[2]:m[3]])
		} else {
			operator = string(code[m[4]:m[5]]) + "::" + string(code[m[6]:m[7]])
		}
		if VerdictOf(operator) != Allowed {
			return OperatorError(operator, name)
		}
		code = code[m[1]:] // it begins behind a word, so that nothing new begins a line
	}
}

// checkForm refuses code, of which literals and comments were cut out, that torch.jit.save does not write, and that one reader may take in
// another way than the next: classes that do not begin a line, statements and texts that go on in the next, other white space, and bytes
// that are not ASCII.
func checkForm(name string, code []byte) error {
	const class = "class"
	for at, c := range code {
		end := at + 1
		switch {
		case c == '\\', c < ' ' && c != '\n', c > '~':
		case c == class[0] && at > 0 && code[at-1] != '\n' && !inWord(code[at-1]) && bytes.HasPrefix(code[at:], []byte(class)):
			if end = at + len(class); end < len(code) && inWord(code[end]) {
				continue
			}
		default:
			continue
		}
		return fmt.Errorf("%w: %s, line %d: %q is not code as torch.jit.save writes it; save the model with that again",
			ErrRefused, name, 1+bytes.Count(code[:at], []byte("\n")), code[max(0, at-1):end])
	}
	return nil
}

var emptyText = []byte(`""`)

// withoutLiterals is code with empty strings in the place of strings and comments. Lines stay, for messages.
func withoutLiterals(code []byte) []byte {
	return literalRE.ReplaceAllFunc(code, func(literal []byte) []byte {
		switch {
		case bytes.HasPrefix(literal, []byte("# type:")): // libtorch reads these
			return literal[1:]
		case literal[0] == '#':
			return nil
		case bytes.IndexByte(literal, '\n') < 0:
			return emptyText
		}
		return append(append([]byte(`"`), bytes.Repeat([]byte("\\\n"), bytes.Count(literal, []byte("\n")))...), '"')
	})
}

// OperatorError says that a model uses an operator that it may not, and where.
func OperatorError(operator, where string) error {
	return fmt.Errorf("%w: the operator %s, in %s, is not on the list of those that a model may use; write that part of the model with others, or do it before the data reaches the model", ErrRefused, operator, where)
}
