package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// advice is a command line in a text for people: quoted, after a colon, or a line of its own.
var advice = regexp.MustCompile("(?m)(?:[`\"]|: |^)tandem ([a-z][a-z-]*(?: [a-z][a-z-]*)*)")

// TestAdviceNamesCommandsThatExist looks at every text in the programs' sources and in the pages for users.
func TestAdviceNamesCommandsThatExist(t *testing.T) {
	checked := 0
	check := func(where, text string) {
		for _, m := range advice.FindAllStringSubmatch(text, -1) {
			checked++
			cmd, rest, err := (&app{}).root().Find(strings.Fields(m[1]))
			if err != nil || cmd.HasSubCommands() && len(rest) > 0 && cmd.ValidateArgs(rest) != nil {
				t.Errorf("%s: there is no command %q", where, "tandem "+m[1])
			}
		}
	}
	for _, dir := range []string{"../../cmd/tandem", "../../coordinator", "../../worker", "../../proto", "../../storage", "../../scheduler"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if text, err := strconv.Unquote(l.Value); err == nil {
						check(files.Position(l.Pos()).String(), text)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range []string{"../../README.md", "../../docs/operations.md", "../../docs/spec.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		check(page, string(text))
	}
	if checked < 30 {
		t.Errorf("only %d commands were found: does the pattern still fit?", checked)
	}
}
