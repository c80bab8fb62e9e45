package coordinator

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// makers are the calls that make reasons and events, and where their pairs of argument and value begin.
var makers = map[string]int{"reason": 1, "reasonFrom": 2, "refuse": 2, "nodeReason": -1, "record": 4, "jobEvent": 4, "trialEvent": 5, "reportBreak": 3}

// sentence is text that people read, and no key, code or format of an identity.
var sentence = regexp.MustCompile(`[A-Za-z]+ [a-z]+ [a-z]+`)

// TestStateHoldsNoProse: packages fsm, state and leader make codes and arguments; the sentences are made by package say. Errors, which
// are never stored, may have words: those of references (state/reference.go) ask say for them.
func TestStateHoldsNoProse(t *testing.T) {
	found := 0
	eachFile(t, func(fset *token.FileSet, f *ast.File) {
		for _, i := range f.Imports {
			at := fset.Position(i.Pos()).Filename
			if f.Name.Name != "leader" && filepath.Base(at) != "reference.go" && strings.HasSuffix(i.Path.Value, `/proto/say"`) {
				t.Errorf("%s: the same log would give another state when a text changes", fset.Position(i.Pos()))
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if name := nameOf(n.Fun); name == "Errorf" || name == "New" || name == "Msg" || name == "panic" {
					return false
				}
			case *ast.ImportSpec, *ast.ValueSpec:
				if v, ok := n.(*ast.ValueSpec); ok {
					for _, value := range v.Values {
						if call, ok := value.(*ast.CallExpr); ok && nameOf(call.Fun) == "New" {
							return false // the text of a sentinel
						}
					}
				}
			case *ast.BasicLit:
				found++
				if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && sentence.MatchString(text) {
					t.Errorf("%s: %q: make a code for it, and its text in proto/say", fset.Position(n.Pos()), text)
				}
			}
			return true
		})
	})
	if found < 500 {
		t.Errorf("only %d literals were looked at", found)
	}
}

// TestTextsUseArgumentsThatAreSet: whoever makes a reason or an event sets all arguments that its text cannot do without.
func TestTextsUseArgumentsThatAreSet(t *testing.T) {
	made := map[string]bool{}
	eachFile(t, func(fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			from, ok := makers[nameOf(call.Fun)]
			if !ok {
				return true
			}
			for _, code := range codes(call.Args) {
				made[code] = true
				if missing := missing(needs(code), call, from); len(missing) > 0 {
					t.Errorf("%s: %s is made without %v, which its text names", fset.Position(call.Pos()), code, missing)
				}
			}
			return true
		})
	})
	if len(made) < 100 {
		t.Errorf("only %d codes are made: does the test know the calls?", len(made))
	}
}

// codes are the reasons and types of events among the arguments of a call.
func codes(args []ast.Expr) (all []string) {
	for _, a := range args {
		if s, ok := a.(*ast.SelectorExpr); ok && (strings.HasPrefix(s.Sel.Name, "Reason_CODE_") || strings.HasPrefix(s.Sel.Name, "Event_TYPE_")) {
			all = append(all, s.Sel.Name)
		}
	}
	return all
}

func needs(code string) []string {
	if name, ok := strings.CutPrefix(code, "Reason_"); ok {
		return say.ReasonNeeds(tandemv1.Reason_Code(tandemv1.Reason_Code_value[name]))
	}
	return say.EventNeeds(tandemv1.Event_Type(tandemv1.Event_Type_value[strings.TrimPrefix(code, "Event_")]))
}

// missing are the arguments that a call does not set. A call that takes its pairs from elsewhere is trusted.
func missing(needed []string, call *ast.CallExpr, from int) []string {
	name := nameOf(call.Fun)
	if call.Ellipsis.IsValid() {
		return nil
	}
	set := []string{}
	switch {
	case from < 0:
		set = []string{"node"}
	case name == "reasonFrom" || from >= 3:
		set = append(set, "cause") // it may be nil, where nobody knows
	}
	for i := max(from, 0); i < len(call.Args); i += 2 {
		if l, ok := call.Args[i].(*ast.BasicLit); ok {
			if key, err := strconv.Unquote(l.Value); err == nil {
				set = append(set, key)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(needed), func(n string) bool { return slices.Contains(set, n) })
}

func nameOf(fun ast.Expr) string {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// eachFile looks at the sources that make reasons.
func eachFile(t *testing.T, look func(*token.FileSet, *ast.File)) {
	t.Helper()
	for _, folder := range []string{"fsm", "state", "leader"} {
		paths, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", folder, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			look(fset, f)
		}
	}
}
