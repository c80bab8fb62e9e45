package torchscript

import (
	"fmt"
	"regexp"
)

var (
	// literalRE is a string or a comment, in which names mean nothing.
	literalRE = regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|#[^\n]*`)
	// callRE finds an operator as the serializer writes it: torch.NAME, or ops.SPACE.NAME for what is not aten. What follows a dot, as in
	// __torch__.torch.nn, is part of the name of a class.
	callRE = regexp.MustCompile(`(?:^|[^.\w])(?:torch\s*\.\s*(?:autograd\s*\.\s*)?(\w+)|ops\s*\.\s*(\w+)\s*\.\s*(\w+))`)
	// customRE finds the classes that C++ libraries register.
	customRE = regexp.MustCompile(`__torch__\s*\.\s*torch\s*\.\s*classes\s*\.\s*([\w.]+)`)
)

// checkSource refuses code that names an operator or a class that a model may not use.
func checkSource(name string, code []byte) error {
	code = literalRE.ReplaceAll(code, []byte(`""`))
	if m := customRE.FindSubmatch(code); m != nil {
		return fmt.Errorf("%w: %s uses the class %s of a C++ library", ErrRefused, name, m[1])
	}
	for _, m := range callRE.FindAllSubmatch(code, -1) {
		operator := "aten::" + string(m[1])
		if len(m[1]) == 0 {
			operator = string(m[2]) + "::" + string(m[3])
		}
		if VerdictOf(operator) != Allowed {
			return OperatorError(operator, name)
		}
	}
	return nil
}

// OperatorError says that a model uses an operator that it may not, and where.
func OperatorError(operator, where string) error {
	return fmt.Errorf("%w: the operator %s, in %s, is not on the list of those that a model may use; write that part of the model with others, or do it before the data reaches the model", ErrRefused, operator, where)
}
