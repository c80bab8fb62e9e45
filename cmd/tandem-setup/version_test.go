package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseVersion(t *testing.T) {
	tests := map[string]struct {
		header string
		want   Version
		ok     bool
	}{
		"plain":    {"#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 6\n#define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION \\\n  \"2.6.0\"\n", Version{2, 6, 0}, true},
		"indented": {"# define TORCH_VERSION_MAJOR 2\n  #define TORCH_VERSION_MINOR 14\n#define TORCH_VERSION_PATCH 1\n", Version{2, 14, 1}, true},
		"forwards": {"#include <torch/headeronly/version.h>\n", Version{}, false},
		"part":     {"#define TORCH_VERSION_MAJOR 2\n", Version{2, 0, 0}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parseVersion(tt.header)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %v %v, want %v %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestReadVersionFollowsTheMove(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "torch/csrc/api/include/torch/version.h", "#include <torch/headeronly/version.h>\n")
	write(t, dir, "torch/headeronly/version.h", "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 14\n#define TORCH_VERSION_PATCH 1\n")
	got, err := readVersion(dir)
	if err != nil || got != (Version{2, 14, 1}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := readVersion(t.TempDir()); err == nil {
		t.Error("an empty folder has no version")
	}
}

func TestParseStd(t *testing.T) {
	tests := map[string]int{
		"#if __cplusplus < 201402L\n#error C++14 or later compatible compiler is required to use PyTorch.\n#endif":     17,
		"#if __cplusplus < 201703L\n#error C++17 or later compatible compiler is required to use PyTorch.\n#endif":     17,
		"#if __cplusplus < 202002L\n#error \"C++20 or later compatible compiler is required to use PyTorch.\"\n#endif": 20,
		"#pragma once\n": 17,
	}
	for header, want := range tests {
		if got := parseStd(header); got != want {
			t.Errorf("parseStd(%q) = %d, want %d", header, got, want)
		}
	}
}

// write puts a file below dir, with its folders.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
