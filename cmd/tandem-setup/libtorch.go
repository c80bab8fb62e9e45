package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Libtorch is one installation as it was found.
type Libtorch struct {
	Source  string  `json:"source"`  // how it was found: "$LIBTORCH", "python3", "system"
	Include string  `json:"include"` // folder that holds torch/ and ATen/
	Lib     string  `json:"lib"`     // folder that holds libtorch_cpu.so
	Version Version `json:"-"`
	Std     int     `json:"cxx_standard"` // 17, or 20 from about 2.10 on
	OldABI  bool    `json:"pre_cxx11_abi"`

	CUDA         bool     `json:"cuda"`          // libtorch_cuda.so is there
	CUDAIncludes []string `json:"cuda_includes"` // folders with CUDA's own headers; empty when they are in /usr/include
	CUDAHeaders  bool     `json:"cuda_headers"`
	CUDALibs     []string `json:"cuda_libs"`    // folders with libcudart and the others, besides the linker's own
	NCCL         bool     `json:"nccl"`         // nccl.h is there
	Gloo         bool     `json:"gloo"`         // gloo's headers are there
	GlooForeign  bool     `json:"gloo_foreign"` // they are the system's, and libtorch with its gloo is not
	GlooLib      bool     `json:"gloo_lib"`     // libgloo.so is there to link
}

// errNoLibtorch says that the machine has no libtorch at all; an unusable one is another error.
var errNoLibtorch = errors.New("no libtorch found")

// finder looks for libtorch. Root is "/" but for tests.
type finder struct {
	root      string
	libtorch  string                 // $LIBTORCH
	cudaHome  string                 // $CUDA_HOME
	pyTorch   func() (string, error) // folder of python3's torch package, "" when there is none
	linkPaths []string               // where the linker looks by itself
}

// find returns the first installation in the order $LIBTORCH, python3, system.
// A $LIBTORCH that is none is an error, since the user meant it.
func (f finder) find() (Libtorch, error) {
	if f.libtorch != "" {
		dir, err := filepath.Abs(f.libtorch)
		if err != nil {
			return Libtorch{}, err
		}
		if !usable(filepath.Join(dir, "include"), filepath.Join(dir, "lib")) {
			return Libtorch{}, fmt.Errorf("LIBTORCH=%s does not have libtorch: it must hold include/torch/csrc/api/include/torch/torch.h "+
				"and lib/libtorch_cpu.so; correct the variable or unset it", f.libtorch)
		}
		return f.describe("$LIBTORCH", filepath.Join(dir, "include"), filepath.Join(dir, "lib"))
	}
	dir, err := f.pyTorch()
	if err != nil {
		return Libtorch{}, err
	}
	// A distribution's own python3-torch has no include folder: its headers are the system's.
	if dir != "" && usable(filepath.Join(dir, "include"), filepath.Join(dir, "lib")) {
		return f.describe("python3", filepath.Join(dir, "include"), filepath.Join(dir, "lib"))
	}
	for _, prefix := range []string{"usr/local", "usr"} {
		include := filepath.Join(f.root, prefix, "include")
		libs, err := filepath.Glob(filepath.Join(f.root, prefix, "lib/*-linux-gnu"))
		if err != nil {
			return Libtorch{}, err
		}
		for _, lib := range append(libs, filepath.Join(f.root, prefix, "lib"), filepath.Join(f.root, prefix, "lib64")) {
			if usable(include, lib) {
				return f.describe("system", include, lib)
			}
		}
	}
	return Libtorch{}, errNoLibtorch
}

// usable tells whether the two folders hold libtorch's C++ headers and libraries.
func usable(include, lib string) bool {
	return exists(include, "torch/csrc/api/include/torch/torch.h") && exists(lib, "libtorch_cpu.so")
}

// describe reads the rest off the files.
func (f finder) describe(source, include, lib string) (Libtorch, error) {
	v, err := readVersion(include)
	if err != nil {
		return Libtorch{}, err
	}
	t := Libtorch{Source: source, Include: include, Lib: lib, Version: v, Std: readStd(include)}
	if t.OldABI, err = oldABI(filepath.Join(lib, "libc10.so")); err != nil {
		return Libtorch{}, err
	}
	sys := filepath.Join(f.root, "usr/include")
	own := exists(include, "gloo/algorithm.h")
	t.Gloo = own || exists(sys, "gloo/algorithm.h")
	t.GlooForeign = t.Gloo && !own
	t.GlooLib = slices.ContainsFunc(append([]string{lib}, f.linkPaths...), func(d string) bool { return exists(d, "libgloo.so") })
	if t.CUDA = exists(lib, "libtorch_cuda.so"); t.CUDA {
		f.describeCUDA(&t)
	}
	return t, nil
}

// describeCUDA finds CUDA's headers and libraries: $CUDA_HOME, the usual folder, the wheels beside a Python torch, the system's.
func (f finder) describeCUDA(t *Libtorch) {
	homes := []string{f.cudaHome, filepath.Join(f.root, "usr/local/cuda")}
	if wheels, err := filepath.Glob(filepath.Join(t.Lib, "../../nvidia/*")); err == nil {
		homes = append(homes, wheels...)
	}
	for _, h := range homes {
		if h == "" {
			continue
		}
		if inc := filepath.Join(h, "include"); exists(inc) {
			t.CUDAIncludes = append(t.CUDAIncludes, inc)
		}
		for _, lib := range []string{"lib64", "lib"} {
			if exists(h, lib) {
				t.CUDALibs = append(t.CUDALibs, filepath.Join(h, lib))
				break
			}
		}
	}
	has := func(header string) bool {
		dirs := append([]string{filepath.Join(f.root, "usr/include"), t.Include}, t.CUDAIncludes...)
		return slices.ContainsFunc(dirs, func(d string) bool { return exists(d, header) })
	}
	t.CUDAHeaders = has("cuda_runtime_api.h")
	t.NCCL = has("nccl.h")
}

// oldABI tells whether a libc10.so was built with the strings of before C++11 (-D_GLIBCXX_USE_CXX11_ABI=0), as Python wheels were up to 2.6.
func oldABI(libc10 string) (bool, error) {
	f, err := elf.Open(libc10)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", libc10, err)
	}
	defer f.Close()
	syms, err := f.DynamicSymbols()
	if err != nil {
		return false, fmt.Errorf("read symbols of %s: %w", libc10, err)
	}
	names := make([]string, 0, len(syms))
	for _, s := range syms {
		names = append(names, s.Name)
	}
	return oldStrings(names), nil
}

// oldStrings looks at the constructors of c10::Error, which take a std::string in every version.
func oldStrings(symbols []string) bool {
	found := false
	for _, s := range symbols {
		if strings.HasPrefix(s, "_ZN3c105ErrorC") {
			if strings.Contains(s, "__cxx11") {
				return false
			}
			found = found || strings.Contains(s, "Ss")
		}
	}
	return found
}

// pythonTorch asks python3 where its torch is, without importing it (that takes seconds).
func pythonTorch() (string, error) {
	py, err := exec.LookPath("python3")
	if err != nil {
		return "", nil
	}
	out, err := exec.Command(py, "-c", `import importlib.util as u
s = u.find_spec("torch")
print(s.submodule_search_locations[0] if s and s.submodule_search_locations else "")`).Output()
	if err != nil {
		return "", nil // a python3 that does not run has no torch for us
	}
	return strings.TrimSpace(string(out)), nil
}

func exists(elem ...string) bool {
	_, err := os.Stat(filepath.Join(elem...))
	return err == nil
}
