package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFailing(t *testing.T) {
	all := []Wrapper{{"torch_api.cpp", 40}, {"torch_api_generated.cpp.h", 10}, {"torch_api_generated.cpp.h", 17}, {"torch_api_generated.cpp.h", 24}}
	tests := map[string]struct {
		messages string
		off      []Wrapper
		foreign  []string
	}{
		"in a body": {
			"torch_api_generated.cpp.h: In function 'void atg_a(at::Tensor**)':\n" +
				"torch_api_generated.cpp.h:19:29: error: 'a' is not a member of 'torch'\n" +
				"torch_api.h:20:5: note: in definition of macro 'PROTECT'\n",
			[]Wrapper{{"torch_api_generated.cpp.h", 17}}, nil,
		},
		"same line, other file, twice": {
			"/src/libtch/torch_api.cpp:41:3: error: no\n/src/libtch/torch_api.cpp:42:3: error: no\n",
			[]Wrapper{{"torch_api.cpp", 40}}, nil,
		},
		"deep in a template, two errors": {
			"/usr/include/c++/12/tuple: In instantiation of 'struct std::tuple_element<5>':\n" +
				"/usr/include/c++/12/tuple:1401:5:   required by substitution of 'x'\n" +
				"torch_api_generated.cpp.h:25:3:   required from here\n" +
				"/usr/include/c++/12/tuple:1357:25: error: static assertion failed\n" +
				"/usr/include/c++/12/tuple:1359:13: error: no type named 'type'\n",
			[]Wrapper{{"torch_api_generated.cpp.h", 24}}, nil,
		},
		"outside all wrappers": {
			"torch_api_generated.cpp.h:25:3: error: x\n" +
				"In file included from torch_api.cpp:1:\n" +
				"/usr/include/torch/all.h:4:2: error: #error C++20 or later\n",
			[]Wrapper{{"torch_api_generated.cpp.h", 24}}, []string{"/usr/include/torch/all.h:4:2: error: #error C++20 or later"},
		},
		"before the first wrapper": {"torch_api.cpp:3:10: fatal error: ATen/x.h: No such file\n", nil, []string{"torch_api.cpp:3:10: fatal error: ATen/x.h: No such file"}},
		"warnings only":            {"torch_api.cpp:41:3: warning: unused\n", nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			off, foreign := failing(tt.messages, all)
			if diff := cmp.Diff(tt.off, off); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.foreign, foreign); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestListRoundTrip(t *testing.T) {
	want := []Wrapper{{"torch_api.cpp", 3}, {"torch_api_generated.cpp.h", 626}}
	got, err := parseList(formatList(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"torch_api.cpp\n", "other.cpp 3\n", "torch_api.cpp 0\n", "torch_api.cpp x\n"} {
		if _, err := parseList(bad); err == nil {
			t.Errorf("parseList(%q) gives no error", bad)
		}
	}
}

// fakeGotch has gotch's shape: wrappers in two files, some on the same line, of which two do not compile.
var fakeGotch = map[string]string{
	"torch_api.h": `#pragma once
#include <cstdlib>
#include <cstring>
#include <exception>
using namespace std;
static thread_local char *torch_last_err = nullptr;
#define PROTECT(x) try { x } catch (const exception &e) { torch_last_err = strdup(e.what()); }
`,
	"torch_api.cpp": `#include "torch_api.h"

int kept() {
  PROTECT(int n = strlen("a"); return n + 6;)
  return -1;
}
int missing() {
  PROTECT(
    return no_such_function(1, 2);
  )
  return -1;
}
#include "torch_api_generated.cpp.h"
#include <cstdio>
int main() {
  printf("%d %d %d\n", kept(), generated(), missing());
  puts(torch_last_err);
  printf("%d\n", generated_missing());
  puts(torch_last_err);
}
`,
	"torch_api_generated.cpp.h": `//
//
int generated_missing() {
  PROTECT(return another_missing();)
  return -1;
}
int generated() {
  PROTECT(
    return 8;
  )
  return -1;
}
`,
}

// The whole technique on a small source: find what fails, switch it off, compile, call both kinds.
func TestCompatListAndHeader(t *testing.T) {
	dir := t.TempDir()
	for name, text := range fakeGotch {
		write(t, dir, name, text)
	}
	v := Version{1, 13, 0}
	off, err := compiler{cxx: "g++", source: dir}.compatList(v, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Wrapper{{"torch_api.cpp", 8}, {"torch_api_generated.cpp.h", 4}}, off); diff != "" {
		t.Fatal(diff)
	}
	header, err := renderCompat(off, v)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "out/compat.h", header)
	bin := filepath.Join(dir, "prog")
	if out, err := exec.Command("g++", "-std=c++17", "-include", filepath.Join(dir, "out/compat.h"), "-I"+dir, "-o", bin, filepath.Join(dir, "torch_api.cpp")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "7 8 -1\nmissing: not in this libtorch\n-1\ngenerated_missing: not in this libtorch\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestCompatHeaderLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	header, err := renderCompat([]Wrapper{{"torch_api.cpp", 8}}, Version{1, 13, 0})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "out/compat.h", header)
	write(t, dir, "src/ours.cpp", "#ifdef PROTECT\n#error it leaked\n#endif\n#define PROTECT(x) x\nint f() { PROTECT(return 1;) }\n")
	cmd := exec.Command("g++", "-include", filepath.Join(dir, "out/compat.h"), "-fsyntax-only", "ours.cpp")
	cmd.Dir = filepath.Join(dir, "src")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCompatListStopsAtForeignErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range fakeGotch {
		write(t, dir, name, text)
	}
	if err := os.WriteFile(filepath.Join(dir, "torch_api.cpp"), []byte("#error C++20 or later\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (compiler{cxx: "g++", source: dir}).compatList(Version{2, 14, 0}, func(string) {}); err == nil || !strings.Contains(err.Error(), "outside its wrappers") {
		t.Errorf("got %v", err)
	}
}
