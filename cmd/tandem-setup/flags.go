package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Flags is what goes into the goenv file.
type Flags struct {
	CXXFlags []string
	LDFlags  []string
	CXX      string // path of the compiler's wrapper script, "" when plain g++ will do
}

// flagsFor makes the flags for a libtorch from the generated folder dir. They hold no path but those of libtorch and dir.
func flagsFor(t Libtorch, dir string) Flags {
	var f Flags
	f.CXXFlags = []string{"-g", "-O2", fmt.Sprintf("-std=c++%d", t.Std), "-include", filepath.Join(dir, "compat.h")}
	f.CXXFlags = append(f.CXXFlags, includeFlags(t)...)
	f.CXXFlags = append(f.CXXFlags, "-idirafter", filepath.Join(dir, "standin"))
	f.CXXFlags = append(f.CXXFlags, defines(t)...)

	f.LDFlags = []string{"-g", "-O2", "-L" + filepath.Join(dir, "lib")}
	if t.Source != "system" {
		f.LDFlags = append(f.LDFlags, "-L"+t.Lib, "-Wl,-rpath,"+t.Lib)
	}
	if t.GlooLib {
		// Every cgo package gets these flags: only those that use gloo shall need the library.
		f.LDFlags = append(f.LDFlags, "-Wl,--push-state,--as-needed", "-lgloo", "-Wl,--pop-state")
	}
	if t.CUDA {
		for _, lib := range t.CUDALibs {
			f.LDFlags = append(f.LDFlags, "-L"+lib, "-Wl,-rpath,"+lib)
		}
		// Nothing refers to libtorch_cuda by a symbol, and without it no CUDA kernel is registered.
		f.LDFlags = append(f.LDFlags, "-Wl,--allow-shlib-undefined", "-Wl,--push-state,--no-as-needed", "-ltorch_cuda", "-lc10_cuda", "-Wl,--pop-state")
	}
	if t.Std > 17 {
		// gotch says -std=c++17 on a line that comes after ours, and the last one wins.
		f.CXX = filepath.Join(dir, "cxx")
	}
	return f
}

// includeFlags are the folders of libtorch's headers and CUDA's. /usr/include is the compiler's own and must not be named.
func includeFlags(t Libtorch) []string {
	var dirs []string
	if t.Source != "system" {
		dirs = append(dirs, t.Include)
	}
	dirs = append(dirs, filepath.Join(t.Include, "torch/csrc/api/include"))
	dirs = append(dirs, t.CUDAIncludes...)
	for i, d := range dirs {
		dirs[i] = "-I" + d
	}
	return dirs
}

// defines tell our own C++ what this libtorch has.
func defines(t Libtorch) []string {
	d := []string{"-DUSE_DISTRIBUTED", "-DUSE_C10D", "-DUSE_C10D_GLOO"}
	if t.OldABI {
		d = append(d, "-D_GLIBCXX_USE_CXX11_ABI=0")
	}
	if t.GlooForeign {
		d = append(d, "-DTANDEM_GLOO_FOREIGN")
	}
	if t.CUDA && t.CUDAHeaders {
		d = append(d, "-DTANDEM_CUDA")
		if t.NCCL {
			d = append(d, "-DUSE_C10D_NCCL")
		}
	}
	return d
}

// compilerScript is the wrapper that Flags.CXX names.
func compilerScript(cxx string, std int) string {
	return fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" -std=c++%d\n", cxx, std)
}

// namedLibs are the libraries that gotch's own flags name, whether they are there or not.
var namedLibs = []string{"cuda", "cudart", "cublas", "cudnn", "caffe2_nvrtc", "nvrtc-builtins", "nvrtc", "nvToolsExt", "c10_cuda", "torch_cuda"}

// linkerScripts returns a linker script by file name for each named library that the linker would not find in dirs: empty, or
// leading to the versioned file where there is one (Python wheels have libcudart.so.12 and no libcudart.so).
func linkerScripts(dirs []string) (map[string]string, error) {
	scripts := map[string]string{}
next:
	for _, lib := range namedLibs {
		name := "lib" + lib + ".so"
		versioned := ""
		for _, dir := range dirs {
			if exists(dir, name) || exists(dir, "lib"+lib+".a") {
				continue next
			}
			files, err := filepath.Glob(filepath.Join(dir, name+".*"))
			if err != nil {
				return nil, err
			}
			if versioned == "" && len(files) > 0 && lib != "cuda" { // libcuda.so.1 is the driver's and is loaded when it is wanted
				versioned = files[0]
			}
		}
		scripts[name] = "/* Written by tandem-setup: there is no " + name + " here, and nothing of ours needs it. */\n"
		if versioned != "" {
			scripts[name] = fmt.Sprintf("/* Written by tandem-setup. */\nINPUT ( %s )\n", versioned)
		}
	}
	return scripts, nil
}

// goenv renders the file: the user's own lines first, with our flags after theirs where both set a variable.
func goenv(user string, f Flags) (string, error) {
	ours := map[string][]string{"CGO_CXXFLAGS": f.CXXFlags, "CGO_LDFLAGS": f.LDFlags}
	var b strings.Builder
	for line := range strings.Lines(user) {
		line = strings.TrimRight(line, "\r\n")
		key, value, ok := strings.Cut(line, "=")
		if flags, mine := ours[key]; ok && mine {
			quoted, err := quoteAll(flags)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%s=%s %s\n", key, value, quoted)
			delete(ours, key)
			continue
		}
		if ok && key == "CXX" && f.CXX != "" {
			continue // the wrapper calls it
		}
		b.WriteString(line + "\n")
	}
	for _, key := range []string{"CGO_CXXFLAGS", "CGO_LDFLAGS"} {
		if flags, left := ours[key]; left {
			quoted, err := quoteAll(flags)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%s=%s\n", key, quoted)
		}
	}
	if f.CXX != "" {
		fmt.Fprintf(&b, "CXX=%s\n", f.CXX)
	}
	return b.String(), nil
}

// quoteAll joins flags in the way the go command takes them apart: fields may stand in single or double quotes.
func quoteAll(flags []string) (string, error) {
	out := make([]string, len(flags))
	for i, f := range flags {
		switch {
		case !strings.ContainsAny(f, " \t'\""):
			out[i] = f
		case !strings.Contains(f, "'"):
			out[i] = "'" + f + "'"
		case !strings.Contains(f, `"`):
			out[i] = `"` + f + `"`
		default:
			return "", fmt.Errorf("cannot quote %s for the go command: move it to a path without quotes", f)
		}
	}
	return strings.Join(out, " "), nil
}
