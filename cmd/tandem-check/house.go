package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits in lines. Those of a package count what is neither generated nor a test.
const (
	maxFile     = 800
	maxTestFile = 1500
	maxFunc     = 80
	maxPackage  = 3500
)

// maxMethods is how many methods one type may have.
const maxMethods = 40

// oversize are the packages, and the types with their package, that are over the limit, with what they may have at most. They may shrink and
// not grow: lower the number when they do, and delete the entry when they fit.
var oversize = map[string]int{
	"cmd/tandem":              10_180,
	"cmd/tandem.app":          175,
	"coordinator.Coordinator": 43,
	"coordinator/api":         5667,
	"coordinator/fsm":         4309,
	"coordinator/fsm.applier": 135,
	"coordinator/state.View":  96,
	"worker/agent":            5388,
}

// maxColumns is the width that a line of code may have, with tabs of 4. wideLines are wider, in all packages together: mostly messages, which
// read best whole. Lower the number when there are fewer.
const (
	maxColumns = 140
	wideLines  = 806
)

// maxTestdata is the largest file for tests, in bytes: what is larger is made by the test that needs it.
const maxTestdata = 256 << 10

// longFuncFiles may hold longer functions: the train loop has to read top to bottom.
var longFuncFiles = []string{"worker/train/loop.go"}

// cgoFolders are the only ones whose Go files may import "C".
var cgoFolders = []string{"worker/torch", "worker/crash"}

// vagueNames say nothing about what a package is.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "base", "misc", "shared"}

// leftovers do not belong into anything that is committed.
var leftovers = []struct {
	pattern *regexp.Regexp
	what    string
	goOnly  bool
}{
	{regexp.MustCompile(`/(root/|work/|tmp/[a-z]|home/[a-z]+/|Users/[A-Za-z]+/)`), "a path of one machine", false},
	{regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`), "unfinished work", true},
}

// generatedMark is Go's own convention.
var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// problems are found faults ("file:line: what"), and the error that ended the search early.
type problems struct {
	list []string
	err  error
}

func (p *problems) add(format string, args ...any) {
	p.list = append(p.list, fmt.Sprintf(format, args...))
}

// house checks a tree.
func house(tree fs.FS) problems {
	var p problems
	packages := map[string]*pkg{}
	p.err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipFolder(name) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !(checked(name) || testdata(name)) {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if testdata(name) && len(text) > maxTestdata {
			p.add("%s: %d bytes, the limit for testdata is %d: let the test make it", name, len(text), maxTestdata)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil // no text
		}
		p.file(name, text)
		if strings.HasSuffix(name, ".go") && !testdata(name) {
			return p.goFile(name, text, packages)
		}
		return nil
	})
	p.packages(packages)
	p.mutants(tree)
	slices.Sort(p.list)
	return p
}

// skipFolder leaves out what is not ours or not kept.
func skipFolder(name string) bool {
	base := path.Base(name)
	if base == "rapid" && path.Base(path.Dir(name)) == "testdata" {
		return true // what failed on this machine
	}
	return name == "bin" || base == "third_party" || (strings.HasPrefix(base, ".") && base != "." && base != ".ci")
}

// testdata tells whether a file is read by tests only; the go command does not look at it.
func testdata(name string) bool {
	return slices.Contains(strings.Split(path.Dir(name), "/"), "testdata")
}

// checked files are those that people write.
func checked(name string) bool {
	switch path.Ext(name) {
	case ".go", ".proto", ".cpp", ".cc", ".h", ".hpp", ".md", ".yml", ".yaml", ".sh", ".py", ".mod":
		return true
	}
	return path.Base(name) == "Makefile" || path.Dir(name) == ".ci"
}

// file checks what holds for every text.
func (p *problems) file(name string, text []byte) {
	generated := generatedMark.Match(text)
	lines := bytes.Count(text, []byte("\n"))
	limit := maxFile
	if strings.HasSuffix(name, "_test.go") || testdata(name) {
		limit = maxTestFile
	}
	switch path.Ext(name) {
	case ".go", ".cpp", ".cc", ".h", ".hpp", ".proto", ".txt", ".golden", ".log":
		if lines > limit && !generated {
			p.add("%s: %d lines, the limit is %d: split it by what it is about", name, lines, limit)
		}
	}
	if path.Base(name) == "DESIGN.md" {
		p.decisions(name, text)
	}
	if strings.HasPrefix(name, "cmd/tandem-check/") || generated {
		return // this program names what it looks for
	}
	for i, line := range strings.Split(string(text), "\n") {
		for _, w := range words {
			if found := w.pattern.FindString(line); found != "" {
				p.add("%s:%d: %q: write %q", name, i+1, found, w.right)
			}
		}
		for _, l := range leftovers {
			if (!l.goOnly || strings.HasSuffix(name, ".go")) && l.pattern.MatchString(line) {
				p.add("%s:%d: %s: %s", name, i+1, l.what, strings.TrimSpace(line))
			}
		}
	}
}

// decision begins a dated decision of a DESIGN.md.
var decision = regexp.MustCompile(`^\* \*{0,2}(20\d\d-\d\d(-\d\d)?)`)

// decisions stand in the order of their dates below each heading, so that the last word on a thing is the lower one.
func (p *problems) decisions(name string, text []byte) {
	last := ""
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#") {
			last = ""
		}
		if m := decision.FindStringSubmatch(line); m != nil {
			if m[1] < last {
				p.add("%s:%d: a decision of %s below one of %s: put it above", name, i+1, m[1], last)
			}
			last = m[1]
		}
	}
}

// pkg is what is known of one package folder.
type pkg struct {
	name        string
	doc         bool // some file has a package comment
	docFile     bool // there is a doc.go
	handwritten bool
	lines       int            // of all files but tests
	wide        int            // lines that are wider than maxColumns
	methods     map[string]int // by type
}

// goFile checks one Go file and notes what it says about its package.
func (p *problems) goFile(name string, text []byte, packages map[string]*pkg) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, imp := range f.Imports {
		if imp.Path.Value == `"C"` && !slices.Contains(cgoFolders, path.Dir(name)) {
			p.add("%s:%d: import \"C\" is for %s only", name, fset.Position(imp.Pos()).Line, strings.Join(cgoFolders, " and "))
		}
	}
	if generatedMark.Match(text) {
		return nil
	}
	test := strings.HasSuffix(name, "_test.go")
	if test {
		p.sleeps(fset, name, f)
	}
	if !test && !slices.Contains(longFuncFiles, name) {
		p.functions(fset, name, f)
	}
	if test {
		return nil
	}
	k := packages[path.Dir(name)]
	if k == nil {
		k = &pkg{name: f.Name.Name, methods: map[string]int{}}
		packages[path.Dir(name)] = k
	}
	k.handwritten = true
	k.lines += bytes.Count(text, []byte("\n"))
	for line := range bytes.Lines(text) {
		if utf8.RuneCount(bytes.TrimRight(line, "\n"))+3*bytes.Count(line, []byte("\t")) > maxColumns {
			k.wide++
		}
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
			k.methods[receiver(fn)]++
		}
	}
	k.doc = k.doc || f.Doc != nil
	k.docFile = k.docFile || path.Base(name) == "doc.go"
	return nil
}

func (p *problems) functions(fset *token.FileSet, name string, f *ast.File) {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		first, last := fset.Position(fn.Pos()).Line, fset.Position(fn.End()).Line
		if n := last - first + 1; n > maxFunc {
			p.add("%s:%d: %s has %d lines, the limit is %d", name, first, fn.Name.Name, n, maxFunc)
		}
	}
}

// sleeps finds time.Sleep in a test file that opens no synctest bubble, where sleeping takes no time.
func (p *problems) sleeps(fset *token.FileSet, name string, f *ast.File) {
	for _, imp := range f.Imports {
		if imp.Path.Value == `"testing/synctest"` {
			return
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				p.add("%s:%d: time.Sleep in a test: use testing/synctest, or wait for what is meant", name, fset.Position(n.Pos()).Line)
			}
		}
		return true
	})
}

// receiver is the name of the type that a method belongs to.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// budget checks the size of something that has a limit, but may be in oversize.
func (p *problems) budget(name string, has, limit int, what, remedy string) {
	allowed, over := oversize[name]
	switch {
	case !over && has > limit:
		p.add("%s: %d %s, the limit is %d: %s", name, has, what, limit, remedy)
	case over && has > allowed:
		p.add("%s: %d %s, and it may not grow beyond %d: %s", name, has, what, allowed, remedy)
	case over && has <= limit:
		p.add("%s: %d %s fit the limit of %d: delete it from oversize", name, has, what, limit)
	}
}

func (p *problems) packages(packages map[string]*pkg) {
	wide := 0
	for _, k := range packages {
		wide += k.wide
	}
	if wide > wideLines {
		p.add("%d lines of code are wider than %d columns, and there may not be more than %d: break those of your change", wide, maxColumns, wideLines)
	}
	for dir, k := range packages {
		p.budget(dir, k.lines, maxPackage, "lines", "split the package by what it is about")
		for of, n := range k.methods {
			p.budget(dir+"."+of, n, maxMethods, "methods", "split the type, or make functions of what needs little of it")
		}
		switch {
		case !k.handwritten || dir == ".":
		case slices.Contains(vagueNames, k.name):
			p.add("%s: package %s says nothing about what it holds: name it after its subject", dir, k.name)
		case !k.doc:
			p.add("%s: package %s has no package comment", dir, k.name)
		case k.name != "main" && !k.docFile:
			p.add("%s: package %s has no doc.go", dir, k.name)
		}
	}
}
