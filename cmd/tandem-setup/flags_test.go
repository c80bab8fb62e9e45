package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsOfTheSystemsLibtorch(t *testing.T) {
	got := flagsFor(Libtorch{Source: "system", Include: "/usr/include", Lib: "/usr/lib/x86_64-linux-gnu", Std: 17, Gloo: true}, "/c/dir")
	want := Flags{
		CXXFlags: []string{"-g", "-O2", "-std=c++17", "-include", "/c/dir/compat.h", "-I/usr/include/torch/csrc/api/include",
			"-idirafter", "/c/dir/standin", "-DUSE_DISTRIBUTED", "-DUSE_C10D", "-DUSE_C10D_GLOO"},
		LDFlags: []string{"-g", "-O2", "-L/c/dir/lib"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFlagsOfACUDAWheel(t *testing.T) {
	torch := Libtorch{Source: "python3", Include: "/p/torch/include", Lib: "/p/torch/lib", Std: 20, OldABI: true, GlooLib: true,
		CUDA: true, CUDAHeaders: true, NCCL: true, CUDAIncludes: []string{"/p/nvidia/nccl/include"}, CUDALibs: []string{"/p/nvidia/nccl/lib"}}
	got := flagsFor(torch, "/c/dir")
	for _, want := range []string{"-std=c++20", "-I/p/torch/include", "-I/p/nvidia/nccl/include", "-DTANDEM_CUDA", "-DUSE_C10D_NCCL", "-D_GLIBCXX_USE_CXX11_ABI=0"} {
		if !slices.Contains(got.CXXFlags, want) {
			t.Errorf("no %s in %v", want, got.CXXFlags)
		}
	}
	ld := strings.Join(got.LDFlags, " ")
	for _, want := range []string{"-L/p/torch/lib -Wl,-rpath,/p/torch/lib", "-Wl,-rpath,/p/nvidia/nccl/lib", "--no-as-needed -ltorch_cuda -lc10_cuda -Wl,--pop-state", "--as-needed -lgloo"} {
		if !strings.Contains(ld, want) {
			t.Errorf("no %s in %s", want, ld)
		}
	}
	if got.CXX != "/c/dir/cxx" {
		t.Errorf("C++20 needs the wrapper, got %q", got.CXX)
	}
	torch.CUDAHeaders = false
	if d := defines(torch); slices.Contains(d, "-DTANDEM_CUDA") || slices.Contains(d, "-DUSE_C10D_NCCL") {
		t.Errorf("without CUDA's headers: %v", d)
	}
}

func TestLinkerScripts(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write(t, a, "libcublas.so", "")
	write(t, a, "libnvrtc.a", "")
	write(t, b, "libcudart.so.12", "")
	write(t, b, "libcuda.so.1", "")
	got, err := linkerScripts([]string{a, b})
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range []string{"libcublas.so", "libnvrtc.so"} {
		if _, made := got[there]; made {
			t.Errorf("%s is there and must not be hidden", there)
		}
	}
	if want := "INPUT ( " + filepath.Join(b, "libcudart.so.12") + " )"; !strings.Contains(got["libcudart.so"], want) {
		t.Errorf("libcudart.so: %q, want %q", got["libcudart.so"], want)
	}
	if s, made := got["libcuda.so"]; !made || strings.Contains(s, "INPUT") {
		t.Errorf("the driver's library must not be linked: %q", s)
	}
	if len(got) != len(namedLibs)-2 {
		t.Errorf("%d scripts for %d libraries, two of them there", len(got), len(namedLibs))
	}
}

// The linker has to take the scripts for libraries.
func TestLinkerTakesTheScripts(t *testing.T) {
	dir := t.TempDir()
	scripts, err := linkerScripts(nil)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-L" + dir, "-o", filepath.Join(dir, "prog"), filepath.Join(dir, "main.cpp")}
	write(t, dir, "main.cpp", "int main() {}\n")
	for name, text := range scripts {
		write(t, dir, name, text)
		args = append(args, "-l"+strings.TrimSuffix(strings.TrimPrefix(name, "lib"), ".so"))
	}
	if out, err := exec.Command("g++", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestGoenv(t *testing.T) {
	flags := Flags{CXXFlags: []string{"-a", "-I/with space/x"}, LDFlags: []string{"-L/d"}, CXX: "/c/cxx"}
	tests := map[string]struct{ user, want string }{
		"no settings": {"", "CGO_CXXFLAGS=-a '-I/with space/x'\nCGO_LDFLAGS=-L/d\nCXX=/c/cxx\n"},
		"settings first, flags joined": {"GOPROXY=direct\nCGO_LDFLAGS=-L/mine\nCXX=g++-14\n",
			"GOPROXY=direct\nCGO_LDFLAGS=-L/mine -L/d\nCGO_CXXFLAGS=-a '-I/with space/x'\nCXX=/c/cxx\n"},
		"no newline at the end": {"GOFLAGS=-buildvcs=false", "GOFLAGS=-buildvcs=false\nCGO_CXXFLAGS=-a '-I/with space/x'\nCGO_LDFLAGS=-L/d\nCXX=/c/cxx\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := goenv(tt.user, flags)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := goenv("", Flags{CXXFlags: []string{`-Ia'b"c`}}); err == nil {
		t.Error("a path with both quotes cannot be written")
	}
}

// The go command has to read back what was written.
func TestGoReadsTheGoenv(t *testing.T) {
	text, err := goenv("GOPRIVATE=example.org\n", Flags{CXXFlags: []string{"-include", "/a b/compat.h"}, LDFlags: []string{"-Wl,--push-state,--as-needed"}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "goenv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "env", "GOPRIVATE", "CGO_CXXFLAGS", "CGO_LDFLAGS")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CGO_") && !strings.HasPrefix(v, "GOPRIVATE") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOENV="+path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "example.org\n-include '/a b/compat.h'\n-Wl,--push-state,--as-needed\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
