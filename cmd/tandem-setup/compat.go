package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// gotch was generated for one version of libtorch. Each of its C wrappers has its body in the macro PROTECT(...), defined in its
// torch_api.h. The header written here is included in front, takes torch_api.h in first, and defines PROTECT anew: where the
// wrapper is on the list of those that do not compile against this libtorch, the body is one that sets gotch's error.
// A wrapper is known by the line of the word PROTECT (what __LINE__ is there with gcc) and by its file.

// Wrapper is one use of PROTECT in gotch's C++ source.
type Wrapper struct {
	File string // base name
	Line int    // 1-based, of the word PROTECT
}

// wrapperFiles are gotch's files with wrappers, by how deep they are included: what gcc's __INCLUDE_LEVEL__ says in them.
var wrapperFiles = []string{"torch_api.cpp", "torch_api_generated.cpp.h"}

// renderCompat writes the header that switches the listed wrappers off.
func renderCompat(off []Wrapper, version Version) (string, error) {
	var b strings.Builder
	b.WriteString(`// Written by tandem-setup: makes gotch compile against libtorch ` + version.String() + `. Do not edit.
#if defined(__cplusplus) && __has_include("torch_api.h")
#include "torch_api.h"
#include <cstring>
#include <string>
#undef PROTECT
#define TANDEM_OFF , tandem_missing
`)
	for _, w := range off {
		level := slices.Index(wrapperFiles, w.File)
		if level < 0 {
			return "", fmt.Errorf("wrapper in unknown file %s", w.File)
		}
		fmt.Fprintf(&b, "#define TANDEM_OFF_%d_%d TANDEM_OFF\n", level, w.Line)
	}
	b.WriteString(`
static inline void tandem_missing(const char *wrapper) {
  torch_last_err = strdup((std::string(wrapper) + ": not in this libtorch").c_str());
}
#define TANDEM_COMPILE(...) \
  try { \
    __VA_ARGS__ \
  } catch (const std::exception &e) { \
    torch_last_err = strdup(e.what()); \
  }
#define TANDEM_LEAVE_OUT(...) tandem_missing(__func__);
// A listed line expands to one argument more, which moves the third one to where the body's macro is picked.
#define TANDEM_PICK(...) TANDEM_PICK_(__VA_ARGS__, TANDEM_LEAVE_OUT, TANDEM_COMPILE, )
#define TANDEM_PICK_(line, off, body, ...) body
#define TANDEM_AT(level, line) TANDEM_AT_(level, line)
#define TANDEM_AT_(level, line) TANDEM_PICK(TANDEM_OFF_##level##_##line)
#define PROTECT(...) TANDEM_AT(__INCLUDE_LEVEL__, __LINE__)(__VA_ARGS__)
#endif
`)
	return b.String(), nil
}

// wrappersIn lists the wrappers of a source file in order.
func wrappersIn(file, source string) []Wrapper {
	var ws []Wrapper
	sc := bufio.NewScanner(strings.NewReader(source))
	for n := 1; sc.Scan(); n++ {
		if strings.Contains(sc.Text(), "PROTECT(") {
			ws = append(ws, Wrapper{File: file, Line: n})
		}
	}
	return ws
}

var (
	errorLine    = regexp.MustCompile(`^([^:\s][^:]*):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$`)
	requiredFrom = regexp.MustCompile(`^([^:\s][^:]*):(\d+):(?:\d+:)?\s+required from `)
	contextLine  = regexp.MustCompile(`^[^:\s][^:]*: In |: At global scope:|^In file included from |^\s+from `)
)

// failing reads gcc's messages and returns the wrappers that do not compile, in order, and the errors that lie in none of them.
// all are gotch's wrappers. Errors deep in a
// template count for the wrapper that the "required from" lines before them name.
func failing(messages string, all []Wrapper) (off []Wrapper, foreign []string) {
	seen := map[Wrapper]bool{}
	var via []Wrapper
	for line := range strings.Lines(messages) {
		line = strings.TrimRight(line, "\n")
		switch m := errorLine.FindStringSubmatch(line); {
		case m != nil:
			w, ok := enclosing(all, m[1], m[2])
			switch {
			case ok:
				seen[w] = true
			case len(via) > 0:
				seen[via[len(via)-1]] = true
			default:
				foreign = append(foreign, line)
			}
		case contextLine.MatchString(line):
			via = nil
		default:
			if r := requiredFrom.FindStringSubmatch(line); r != nil {
				if w, ok := enclosing(all, r[1], r[2]); ok {
					via = append(via, w)
				}
			}
		}
	}
	for _, w := range all {
		if seen[w] {
			off = append(off, w)
		}
	}
	return off, foreign
}

// enclosing returns the last wrapper that begins at or before a line of a file.
func enclosing(all []Wrapper, path, line string) (Wrapper, bool) {
	n, err := strconv.Atoi(line)
	if err != nil {
		return Wrapper{}, false
	}
	var found Wrapper
	for _, w := range all {
		if w.File == filepath.Base(path) && w.Line <= n {
			found = w
		}
	}
	return found, found != Wrapper{}
}

// compiler checks gotch's C++ against a libtorch without making code.
type compiler struct {
	cxx    string
	flags  []string // include folders, standard, defines
	source string   // folder with torch_api.cpp
}

// maxPasses bounds the search: two or three are what it takes, as one error can hide another.
const maxPasses = 8

// compatList finds the wrappers that must be left out. A pass takes some 20 s.
func (c compiler) compatList(v Version, progress func(string)) ([]Wrapper, error) {
	var all []Wrapper
	for _, f := range wrapperFiles {
		text, err := os.ReadFile(filepath.Join(c.source, f))
		if err != nil {
			return nil, err
		}
		all = append(all, wrappersIn(f, string(text))...)
	}
	var off []Wrapper
	for pass := 1; pass <= maxPasses; pass++ {
		messages, err := c.check(off, v)
		if err == nil {
			return off, nil
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return nil, err
		}
		more, foreign := failing(messages, all)
		if len(foreign) > 0 {
			return nil, fmt.Errorf("gotch's C++ does not compile against libtorch %s, outside its wrappers:\n  %s", v, strings.Join(foreign[:min(len(foreign), 10)], "\n  "))
		}
		before := len(off)
		for _, w := range more {
			if !slices.Contains(off, w) {
				off = append(off, w)
			}
		}
		if len(off) == before {
			return nil, fmt.Errorf("the compiler fails on gotch, but on no wrapper that could be left out:\n%s", tail(messages, 20))
		}
		progress(fmt.Sprintf("pass %d: %d of gotch's %d wrappers are not in libtorch %s", pass, len(off), len(all), v))
	}
	return nil, fmt.Errorf("gotch still does not compile after %d passes", maxPasses)
}

// check compiles once and returns the compiler's messages; the error is an *exec.ExitError when it found some.
func (c compiler) check(off []Wrapper, v Version) (string, error) {
	header, err := renderCompat(off, v)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "tandem-setup-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	compat := filepath.Join(dir, "compat.h")
	if err := os.WriteFile(compat, []byte(header), 0o600); err != nil {
		return "", err
	}
	args := append([]string{"-include", compat, "-I" + c.source}, c.flags...)
	args = append(args, "-fsyntax-only", "-fmax-errors=0", "-fdiagnostics-color=never", "-fno-diagnostics-show-caret", "-w", "torch_api.cpp")
	cmd := exec.Command(c.cxx, args...)
	cmd.Dir = c.source
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stderr = &out
	err = cmd.Run()
	return out.String(), err
}

// formatList and parseList keep a list in a text file, one "file line" a row.
func formatList(ws []Wrapper) string {
	var b strings.Builder
	for _, w := range ws {
		fmt.Fprintf(&b, "%s %d\n", w.File, w.Line)
	}
	return b.String()
}

func parseList(text string) ([]Wrapper, error) {
	var ws []Wrapper
	for line := range strings.Lines(text) {
		var w Wrapper
		if n, err := fmt.Sscanf(line, "%s %d", &w.File, &w.Line); err != nil || n != 2 || !slices.Contains(wrapperFiles, w.File) || w.Line < 1 {
			return nil, fmt.Errorf("compat list: bad line %q", strings.TrimSpace(line))
		}
		ws = append(ws, w)
	}
	return ws, nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
