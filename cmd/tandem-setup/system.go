package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages are what a Debian machine needs. libtorch-dev's c10d headers include gloo's, and nothing in it asks for libgloo-dev.
var packages = []string{"libtorch-dev", "libopenblas0-pthread", "libgloo-dev"}

// adviceNoLibtorch says what is missing and how to get it.
func adviceNoLibtorch() string {
	return `libtorch (the C++ library of PyTorch, 1.13 or later, with headers) is missing. Any one of these will do:
  - Debian, Ubuntu:  apt-get install ` + strings.Join(packages, " ") + `
  - Python:          pip install torch        (the python3 on the PATH is asked for it)
  - by hand:         unpack a libtorch "shared with dependencies (cxx11 ABI)" archive from pytorch.org, and
                     export LIBTORCH=<folder that holds include/ and lib/>
Then do the same again.`
}

// adviceNoCompiler says it for the compiler.
const adviceNoCompiler = `g++ (GNU C++, 11 or later) is missing.
  - Debian, Ubuntu:  apt-get install g++
  - Fedora:          dnf install gcc-c++
Then do the same again.`

// install gets the missing packages with apt-get, as root or by sudo. It returns false with the reason when this machine has no such way.
func install(missing []string, log io.Writer) (done bool, err error) {
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return false, nil
	}
	var prefix []string
	if os.Geteuid() != 0 {
		sudo, err := exec.LookPath("sudo")
		if err != nil {
			return false, nil
		}
		prefix = []string{sudo}
		if !isTerminal(os.Stdin) {
			prefix = append(prefix, "-n") // nobody is there to type a password
		}
	}
	prefix = append(prefix, "env", "DEBIAN_FRONTEND=noninteractive", apt, "-y", "-q")
	fmt.Fprintf(log, "tandem-setup: installing %s (apt-get)\n", strings.Join(missing, " "))
	run := func(args ...string) error {
		all := append(append([]string{}, prefix...), args...)
		cmd := exec.Command(all[0], all[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, log, log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(all, " "), err)
		}
		return nil
	}
	args := append([]string{"install", "--no-install-recommends"}, missing...)
	if run(args...) == nil {
		return true, nil
	}
	// A bare machine has no package lists yet, or old ones.
	if err := run("update"); err != nil {
		return false, err
	}
	if err := run(args...); err != nil {
		return false, err
	}
	return true, nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Blas is what the system's libblas.so.3 turns out to be. A libtorch that brings its own (MKL in Python's) does not use it.
type Blas struct {
	Path string `json:"path"`
	Slow bool   `json:"slow"` // the reference BLAS: 35 times slower than OpenBLAS
}

// findBlas resolves libblas.so.3 in the linker's folders.
func findBlas(dirs []string) Blas {
	for _, dir := range dirs {
		if path, err := filepath.EvalSymlinks(filepath.Join(dir, "libblas.so.3")); err == nil {
			return Blas{Path: path, Slow: slowBlas(path)}
		}
	}
	return Blas{}
}

// slowBlas knows the reference BLAS by its folder: the fast ones have their own name in the path.
func slowBlas(path string) bool {
	for _, fast := range []string{"openblas", "mkl", "atlas", "blis", "armpl"} {
		if strings.Contains(strings.ToLower(path), fast) {
			return false
		}
	}
	return true
}

// linkPaths asks the compiler where the linker looks by itself.
func linkPaths(cxx string) ([]string, error) {
	out, err := exec.Command(cxx, "-print-search-dirs").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its folders: %w", cxx, err)
	}
	return parseSearchDirs(string(out)), nil
}

// parseSearchDirs reads the "libraries:" line of gcc -print-search-dirs.
func parseSearchDirs(out string) []string {
	var dirs []string
	for line := range strings.Lines(out) {
		list, ok := strings.CutPrefix(strings.TrimSpace(line), "libraries: =")
		if !ok {
			continue
		}
		seen := map[string]bool{}
		for _, d := range filepath.SplitList(list) {
			if d = filepath.Clean(d); !seen[d] {
				seen[d] = true
				dirs = append(dirs, d)
			}
		}
	}
	return dirs
}
