package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plant makes a libtorch of empty files, with the version header and a real shared object for libc10.so, which is read as one.
func plant(t *testing.T, include, lib string, v string, extra ...string) {
	t.Helper()
	parts := strings.Split(v, ".")
	write(t, include, "torch/csrc/api/include/torch/torch.h", "")
	write(t, include, "torch/csrc/api/include/torch/all.h", "#error C++17 or later\n")
	write(t, include, "torch/csrc/api/include/torch/version.h",
		"#define TORCH_VERSION_MAJOR "+parts[0]+"\n#define TORCH_VERSION_MINOR "+parts[1]+"\n#define TORCH_VERSION_PATCH "+parts[2]+"\n")
	write(t, lib, "libtorch_cpu.so", "")
	self, err := os.ReadFile(anySharedObject(t))
	if err != nil {
		t.Fatal(err)
	}
	write(t, lib, "libc10.so", string(self))
	for _, e := range extra {
		write(t, lib, e, "")
	}
}

// anySharedObject returns a library that is on every machine with a compiler.
func anySharedObject(t *testing.T) string {
	t.Helper()
	dirs, err := linkPaths("g++")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if path := filepath.Join(d, "libm.so.6"); exists(path) {
			return path
		}
	}
	t.Fatal("no libm.so.6 on this machine")
	return ""
}

func noPython() (string, error) { return "", nil }

func TestFindOrder(t *testing.T) {
	root, own, py := t.TempDir(), t.TempDir(), t.TempDir()
	plant(t, filepath.Join(root, "usr/include"), filepath.Join(root, "usr/lib/x86_64-linux-gnu"), "1.13.0")
	plant(t, filepath.Join(own, "include"), filepath.Join(own, "lib"), "2.6.0")
	plant(t, filepath.Join(py, "include"), filepath.Join(py, "lib"), "2.14.1")
	python := func() (string, error) { return py, nil }

	tests := map[string]struct {
		finder finder
		source string
		want   Version
	}{
		"LIBTORCH first":                 {finder{root: root, libtorch: own, pyTorch: python}, "$LIBTORCH", Version{2, 6, 0}},
		"then python3":                   {finder{root: root, pyTorch: python}, "python3", Version{2, 14, 1}},
		"then the system":                {finder{root: root, pyTorch: noPython}, "system", Version{1, 13, 0}},
		"a python torch without headers": {finder{root: root, pyTorch: func() (string, error) { return t.TempDir(), nil }}, "system", Version{1, 13, 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.finder.find()
			if err != nil {
				t.Fatal(err)
			}
			if got.Source != tt.source || got.Version != tt.want {
				t.Errorf("found %s %s, want %s %s", got.Source, got.Version, tt.source, tt.want)
			}
		})
	}
}

func TestFindNothing(t *testing.T) {
	if _, err := (finder{root: t.TempDir(), pyTorch: noPython}).find(); !errors.Is(err, errNoLibtorch) {
		t.Errorf("got %v, want errNoLibtorch", err)
	}
	_, err := finder{root: t.TempDir(), libtorch: t.TempDir(), pyTorch: noPython}.find()
	if err == nil || errors.Is(err, errNoLibtorch) || !strings.Contains(err.Error(), "LIBTORCH=") {
		t.Errorf("a wrong $LIBTORCH must be named, got %v", err)
	}
}

func TestFindCUDAOfAWheel(t *testing.T) {
	site := t.TempDir()
	torch := filepath.Join(site, "torch")
	plant(t, filepath.Join(torch, "include"), filepath.Join(torch, "lib"), "2.6.0", "libtorch_cuda.so", "libc10_cuda.so")
	write(t, site, "nvidia/cuda_runtime/include/cuda_runtime_api.h", "")
	write(t, site, "nvidia/cuda_runtime/lib/libcudart.so.12", "")
	write(t, site, "nvidia/nccl/include/nccl.h", "")
	write(t, site, "nvidia/nccl/lib/libnccl.so.2", "")
	got, err := finder{root: t.TempDir(), pyTorch: func() (string, error) { return torch, nil }}.find()
	if err != nil {
		t.Fatal(err)
	}
	want := Libtorch{
		Source: "python3", Include: filepath.Join(torch, "include"), Lib: filepath.Join(torch, "lib"), Version: Version{2, 6, 0}, Std: 17,
		CUDA: true, CUDAHeaders: true, NCCL: true,
		CUDAIncludes: []string{filepath.Join(site, "nvidia/cuda_runtime/include"), filepath.Join(site, "nvidia/nccl/include")},
		CUDALibs:     []string{filepath.Join(site, "nvidia/cuda_runtime/lib"), filepath.Join(site, "nvidia/nccl/lib")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Gloo's headers tell what its classes look like inside only where they come with the library.
func TestForeignGloo(t *testing.T) {
	root, own := t.TempDir(), t.TempDir()
	plant(t, filepath.Join(own, "include"), filepath.Join(own, "lib"), "2.6.0")
	f := finder{root: root, libtorch: own, pyTorch: noPython}
	for _, step := range []struct {
		dir           string
		gloo, foreign bool
	}{
		{"", false, false},
		{filepath.Join(root, "usr/include"), true, true},
		{filepath.Join(own, "include"), true, false},
	} {
		if step.dir != "" {
			write(t, step.dir, "gloo/algorithm.h", "")
		}
		got, err := f.find()
		if err != nil || got.Gloo != step.gloo || got.GlooForeign != step.foreign {
			t.Errorf("with headers in %q: %+v, %v", step.dir, got, err)
		}
		if slices.Contains(defines(got), "-DTANDEM_GLOO_FOREIGN") != step.foreign {
			t.Errorf("with headers in %q: %v", step.dir, defines(got))
		}
	}
}

func TestOldStrings(t *testing.T) {
	tests := map[string]struct {
		symbols []string
		want    bool
	}{
		"C++11 strings": {[]string{"_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"}, false},
		"old strings":   {[]string{"printf", "_ZN3c105ErrorC1ENS_14SourceLocationESs", "_ZN3c105ErrorC2ESsSsPKv"}, true},
		"neither":       {[]string{"printf"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := oldStrings(tt.symbols); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
