package torchscript

import (
	"errors"
	"strings"
	"testing"
)

// TestNesting: whatever libtorch reads by recursion has a limit, and nothing hides it; long code that is flat has none.
func TestNesting(t *testing.T) {
	const many = 3000
	again := strings.Repeat
	ifs := func(levels int) string {
		var code strings.Builder
		for i := range levels {
			code.WriteString(again(" ", i) + "if x:\n")
		}
		return code.String() + again(" ", levels) + "pass\n"
	}
	for name, tc := range map[string]struct {
		code string
		says string // empty: it passes
	}{
		"round":            {"y = " + again("(", many) + "x" + again(")", many), "line 1: more than 200 brackets"},
		"square":           {"\n\ny = " + again("[", many) + "x" + again("]", many), "line 3: more than 200 brackets"},
		"curly":            {"y = " + again("{0: ", many) + "x" + again("}", many), "more than 200 brackets"},
		"over lines":       {"y = " + again("(\n", many) + "x" + again(")", many), "more than 200 brackets"},
		"indentation":      {ifs(maxIndent + 1), "indented by more than 400 columns"},
		"elif":             {"if x:\n  pass\n" + again("elif x:\n  pass\n", many), "more than 200 elif"},
		"signs":            {"y = " + again("-", many) + "x", "more than 2000 operators"},
		"not":              {"y = " + again("not ", many) + "x", "more than 2000 operators"},
		"sum":              {"y = x" + again(" + x", many), "more than 2000 operators"},
		"sum over lines":   {"y = (x" + again(" +\nx", many) + ")", "more than 2000 operators"},
		"attributes":       {"y = x" + again(".x", many), "more than 2000 operators"},
		"indices":          {"y = x" + again("[0]", many), "more than 2000 operators"},
		"conditions":       {"y = " + again("x if x else ", many) + "x", "more than 2000 operators"},
		"powers in calls":  {"y = " + again("f(x"+again(" ** x", 20)+" ** ", 100) + "x" + again(")", 100), "more than 2000 operators"},
		"second argument":  {"y = " + again("f(x, ", many) + "x" + again(")", many), "more than 200 brackets"},
		"type comment":     {"def f(x):\n  # type: " + again("(", many) + "int" + again(")", many), "more than 200 brackets"},
		"behind a text":    {`y = """ " """ + ` + again("(", many) + again(")", many) + ` + " "`, "more than 200 brackets"},
		"a large list":     {"y = [" + again("-1, ", 100_000) + "]", ""},
		"many arguments":   {"y = f(" + again("g(x.y), ", 100_000) + ")", ""},
		"many statements":  {again("y = torch.neg(x.y.z)\n", 100_000), ""},
		"many ifs":         {again("if x:\n  pass\nelse:\n  pass\n", 10_000), ""},
		"in a text":        {`y = "` + again("(", many) + `"`, ""},
		"in a long text":   {`y = """` + again("(", many) + `"""`, ""},
		"in a comment":     {"# " + again("(", many), ""},
		"brackets in list": {"y = [" + again("(1, (2, 3)), ", many) + "]", ""},
		"blank line":       {"x = 1\n" + again(" ", 1000) + "\ny = 1\n", ""},
	} {
		err := checkSource("code/a.py", []byte(tc.code))
		switch {
		case tc.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.says != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "code/a.py")):
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}

// TestSourceIsReadOnce: no code makes the check search the same text again and again.
func TestSourceIsReadOnce(t *testing.T) {
	for name, piece := range map[string]string{
		"strings that do not end":      "\\\"''",
		"long strings that do not end": "\\\"\"\"\n",
		"names":                        "torch ",
		"lines":                        "x,\n",
	} {
		// With a search to the end for each piece this would not end within the time of a test.
		if err := checkSource("code/a.py", []byte(strings.Repeat(piece, (1<<20)/len(piece)))); err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
