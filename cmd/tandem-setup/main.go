package main

import (
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed standin
var standin embed.FS

// generator is part of every folder's name: raise it when what is generated changes.
const generator = "1"

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "tandem-setup:", err)
		}
		os.Exit(1)
	}
}

// report is what --json prints.
type report struct {
	Libtorch
	TorchVersion string   `json:"version"`
	Gotch        string   `json:"gotch"`
	CXX          string   `json:"cxx"`
	Blas         Blas     `json:"blas"`
	Dir          string   `json:"dir"`
	GOENV        string   `json:"goenv"`
	Ready        bool     `json:"ready"`    // the goenv file is there
	LeftOut      int      `json:"left_out"` // wrappers of gotch that this libtorch cannot have; -1: not known yet
	Warnings     []string `json:"warnings,omitempty"`
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tandem-setup", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print what was found as JSON, not the path of the goenv file")
	check := flags.Bool("check", false, "only report: install and write nothing")
	noInstall := flags.Bool("no-install", false, "never install packages: fail and say what is missing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m, err := look()
	if errors.Is(err, errNoLibtorch) || errors.Is(err, errNoCompiler) {
		m, err = provide(err, !*check && !*noInstall, stderr)
	}
	if err != nil {
		return err
	}
	if !*check && !*noInstall {
		if m, err = m.complete(stderr); err != nil {
			return err
		}
	}
	r, err := m.prepare(*check, stderr)
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(stderr, "tandem-setup: warning:", w)
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if *check && !r.Ready {
		return fmt.Errorf("found libtorch %s in %s, but the flags for it are not made yet: run make setup", r.TorchVersion, r.Lib)
	}
	fmt.Fprintln(stdout, r.GOENV)
	return nil
}

// machine is what was found here.
type machine struct {
	torch     Libtorch
	gotch     string // version
	cxx       string
	linkPaths []string
	userEnv   string // the lines of the user's own go env file
}

var errNoCompiler = errors.New("no g++ found")

// look finds the compiler, libtorch and gotch's version.
func look() (machine, error) {
	m := machine{cxx: "g++"}
	if _, err := exec.LookPath(m.cxx); err != nil {
		return m, errNoCompiler
	}
	var err error
	if m.linkPaths, err = linkPaths(m.cxx); err != nil {
		return m, err
	}
	gomod, err := findGoMod()
	if err != nil {
		return m, err
	}
	if m.gotch, err = gotchVersion(gomod); err != nil {
		return m, err
	}
	if m.userEnv, err = userGoEnv(); err != nil {
		return m, err
	}
	f := finder{root: "/", libtorch: os.Getenv("LIBTORCH"), cudaHome: os.Getenv("CUDA_HOME"), pyTorch: pythonTorch, linkPaths: m.linkPaths}
	m.torch, err = f.find()
	return m, err
}

// provide installs what is missing and looks again, or says how to get it.
func provide(missing error, allowed bool, log io.Writer) (machine, error) {
	advice, wanted := adviceNoLibtorch(), packages
	if errors.Is(missing, errNoCompiler) {
		advice, wanted = adviceNoCompiler, append([]string{"g++"}, packages...)
	}
	if !allowed {
		return machine{}, errors.New(advice)
	}
	done, err := install(wanted, log)
	if err != nil {
		return machine{}, fmt.Errorf("%w\n%s", err, advice)
	}
	if !done {
		return machine{}, errors.New(advice)
	}
	return look()
}

// complete adds what the system's libtorch lacks: gloo's headers, and OpenBLAS where there is the reference BLAS and no OpenBLAS at
// all (who has both has chosen). That it cannot is not an error here: warnings say what follows from it.
func (m machine) complete(log io.Writer) (machine, error) {
	missing := m.missing()
	if len(missing) == 0 {
		return m, nil
	}
	done, err := install(missing, log)
	if err != nil {
		fmt.Fprintln(log, "tandem-setup:", err)
	}
	if !done {
		return m, nil
	}
	return look()
}

// missing lists the packages that complete the system's libtorch.
func (m machine) missing() []string {
	var packages []string
	if m.torch.Source != "system" {
		return nil
	}
	openblas := slices.ContainsFunc(m.linkPaths, func(d string) bool {
		found, err := filepath.Glob(filepath.Join(d, "openblas*"))
		return err == nil && len(found) > 0
	})
	if !openblas && findBlas(m.linkPaths).Slow {
		packages = append(packages, "libopenblas0-pthread")
	}
	if !m.torch.Gloo {
		packages = append(packages, "libgloo-dev")
	}
	return packages
}

// prepare makes the folder for what was found, unless it is there or only says what it would be.
func (m machine) prepare(checkOnly bool, log io.Writer) (report, error) {
	root, err := cacheRoot()
	if err != nil {
		return report{}, err
	}
	found, err := json.Marshal(m.torch)
	if err != nil {
		return report{}, err
	}
	dir := filepath.Join(root, fmt.Sprintf("gotch-%s-libtorch-%s-%s", strings.TrimPrefix(m.gotch, "v"), m.torch.Version,
		hash(generator, string(found), m.userEnv, strings.Join(m.linkPaths, ":"))))
	r := report{Libtorch: m.torch, TorchVersion: m.torch.Version.String(), Gotch: m.gotch, CXX: m.cxx, Blas: findBlas(m.linkPaths),
		Dir: dir, GOENV: filepath.Join(dir, "goenv"), LeftOut: -1}
	r.Warnings = m.warnings(r.Blas)
	if !exists(r.GOENV) && !checkOnly {
		unlock, err := lock(root)
		if err != nil {
			return report{}, err
		}
		defer unlock()
		if !exists(r.GOENV) { // another clone may have made it while we waited
			if err := m.generate(root, dir, log); err != nil {
				return report{}, err
			}
		}
	}
	if r.Ready = exists(r.GOENV); r.Ready {
		list, err := os.ReadFile(filepath.Join(dir, "compat.list"))
		if err != nil {
			return report{}, err
		}
		r.LeftOut = strings.Count(string(list), "\n")
	}
	return r, nil
}

// generate writes the folder.
func (m machine) generate(root, dir string, log io.Writer) error {
	say := func(s string) { fmt.Fprintln(log, "tandem-setup:", s) }
	say(fmt.Sprintf("found libtorch %s (%s) in %s", m.torch.Version, m.torch.Source, m.torch.Lib))
	off, err := m.leftOut(root, say)
	if err != nil {
		return err
	}
	flags := flagsFor(m.torch, dir)
	files := map[string]string{"compat.list": formatList(off)}
	if files["compat.h"], err = renderCompat(off, m.torch.Version); err != nil {
		return err
	}
	if files["goenv"], err = goenv(m.userEnv, flags); err != nil {
		return err
	}
	if flags.CXX != "" {
		files["cxx"] = compilerScript(m.cxx, m.torch.Std)
	}
	scripts, err := linkerScripts(append(append([]string{m.torch.Lib}, m.torch.CUDALibs...), m.linkPaths...))
	if err != nil {
		return err
	}
	for name, text := range scripts {
		files[filepath.Join("lib", name)] = text
	}
	files["lib/README"] = "Empty linker scripts for libraries that gotch names and this machine lacks. Written by tandem-setup.\n"
	err = fs.WalkDir(standin, "standin", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := standin.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		return err
	}
	return writeTree(dir, files)
}

// leftOut returns the compat list, from the cache where this pair of gotch and libtorch was met before.
func (m machine) leftOut(root string, say func(string)) ([]Wrapper, error) {
	path, err := m.listPath(root)
	if err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(path); err == nil {
		return parseList(string(text))
	}
	source, err := gotchSource(m.gotch)
	if err != nil {
		return nil, err
	}
	say("trying gotch's C++ against it (once for each version, about a minute)")
	c := compiler{cxx: m.cxx, source: source}
	c.flags = append(append([]string{fmt.Sprintf("-std=c++%d", m.torch.Std)}, includeFlags(m.torch)...), defines(m.torch)...)
	off, err := c.compatList(m.torch.Version, say)
	if err != nil {
		return nil, err
	}
	return off, writeFile(path, formatList(off))
}

// listPath names the cached compat list by all that it depends on.
func (m machine) listPath(root string) (string, error) {
	inputs := []string{generator, m.gotch, fmt.Sprint(m.torch.Std, m.torch.OldABI)}
	for _, h := range []string{"ATen/Functions.h", "ATen/core/TensorBody.h", "torch/csrc/api/include/torch/all.h", "torch/csrc/jit/api/module.h"} {
		text, err := os.ReadFile(filepath.Join(m.torch.Include, h))
		if err != nil {
			return "", fmt.Errorf("read libtorch's headers: %w", err)
		}
		inputs = append(inputs, string(text))
	}
	return filepath.Join(root, fmt.Sprintf("compat-gotch-%s-libtorch-%s-%s.list", strings.TrimPrefix(m.gotch, "v"), m.torch.Version, hash(inputs...))), nil
}

// warnings says what works but not as it should.
func (m machine) warnings(blas Blas) []string {
	var w []string
	if m.torch.Source == "system" && blas.Slow {
		w = append(w, fmt.Sprintf("libblas.so.3 is the reference BLAS (%s): training will be some 35 times slower than it could be. "+
			"Run: apt-get install libopenblas0-pthread", blas.Path))
	}
	if !m.torch.Gloo {
		w = append(w, "gloo's headers are missing, and this libtorch does not bring them: install libgloo-dev, or put the gloo/ folder of the "+
			"version that libtorch was built with into "+m.torch.Include)
	}
	if m.torch.CUDA && !m.torch.CUDAHeaders {
		w = append(w, "libtorch has CUDA, but CUDA's headers are missing, so the engine will use the CPU only: install the CUDA toolkit and set CUDA_HOME")
	} else if m.torch.CUDA && !m.torch.NCCL {
		w = append(w, "nccl.h is missing, so GPUs will talk through Gloo: install libnccl-dev")
	}
	for _, v := range []string{"CGO_CXXFLAGS", "CGO_LDFLAGS"} {
		if os.Getenv(v) != "" {
			w = append(w, v+" is set in the environment and hides the flags of the goenv file: unset it")
		}
	}
	if cxx := os.Getenv("CXX"); strings.Contains(cxx, "clang") {
		w = append(w, "CXX="+cxx+": the flags are made for g++, whose way to count lines they rely on: unset it")
	}
	return w
}

// userGoEnv reads the file of the user's own `go env -w` settings, which GOENV would replace.
func userGoEnv() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", nil // no home, no settings
	}
	path := filepath.Join(dir, "go/env")
	root, err := cacheRoot()
	if err != nil {
		return "", err
	}
	if own := os.Getenv("GOENV"); own != "" && own != "off" && !strings.HasPrefix(own, root) {
		path = own
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}
