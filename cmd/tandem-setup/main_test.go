package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestGotchVersion(t *testing.T) {
	tests := map[string]string{
		"module x\n\nrequire (\n\tgithub.com/other/gotch v1.0.0\n\tgithub.com/sugarme/gotch v0.9.1\n)\n": "v0.9.1",
		"require github.com/sugarme/gotch v0.9.2 // indirect\n":                                          "v0.9.2",
		"module x\n": "",
	}
	for gomod, want := range tests {
		got, err := gotchVersion(gomod)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("gotchVersion(%q) = %q, %v; want %q", gomod, got, err, want)
		}
	}
}

func TestSlowBlas(t *testing.T) {
	for path, want := range map[string]bool{
		"/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0":        true,
		"/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3": false,
		"/opt/intel/mkl/lib/libmkl_rt.so":                         false,
	} {
		if got := slowBlas(path); got != want {
			t.Errorf("slowBlas(%s) = %v", path, got)
		}
	}
}

func TestFindBlasFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "openblas-pthread/libblas.so.3", "")
	if err := os.Symlink(filepath.Join(dir, "openblas-pthread/libblas.so.3"), filepath.Join(dir, "libblas.so.3")); err != nil {
		t.Fatal(err)
	}
	if got := findBlas([]string{t.TempDir(), dir}); got.Slow || !strings.Contains(got.Path, "openblas-pthread") {
		t.Errorf("got %+v", got)
	}
}

func TestParseSearchDirs(t *testing.T) {
	got := parseSearchDirs("install: /x/\nprograms: =/p/\nlibraries: =/usr/lib/gcc/12/:/usr/lib/gcc/12/../../../lib/:/lib/:/lib/\n")
	if want := "/usr/lib/gcc/12 /usr/lib /lib"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// Many clones may set up at once: one of them makes the folder, whole, and nothing else stays.
func TestWriteTreeTogether(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "made")
	files := map[string]string{"goenv": "X=1\n", "lib/libcuda.so": "/* */\n", "cxx": "#!/bin/sh\n"}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := writeTree(dir, files); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d entries left, want the folder alone", len(entries))
	}
	info, err := os.Stat(filepath.Join(dir, "cxx"))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("cxx is not a program: %v %v", info, err)
	}
}

// The whole tool on this machine's libtorch, in a cache of its own; the compat list's slow part is left to what is cached for all.
func TestSetUpHere(t *testing.T) {
	m, err := look()
	if err != nil {
		t.Fatalf("the tests of the project need libtorch: %v", err)
	}
	root, err := cacheRoot()
	if err != nil {
		t.Fatal(err)
	}
	off, err := m.leftOut(root, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	own, err := cacheRoot()
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.listPath(own)
	if err != nil {
		t.Fatal(err)
	}
	write(t, own, filepath.Base(list), formatList(off))

	var out, log bytes.Buffer
	if err := run([]string{"--check"}, &out, &log); err == nil || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("--check before set-up: %v", err)
	}
	if err := run(nil, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	path := strings.TrimSpace(out.String())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), filepath.Dir(filepath.Dir(wd))+"/") {
		t.Errorf("the flags hold the clone's path:\n%s", text)
	}
	out.Reset()
	log.Reset()
	if err := run([]string{"--json"}, &out, &log); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.GOENV != path || !r.Ready || r.LeftOut != len(off) || r.TorchVersion != m.torch.Version.String() {
		t.Errorf("second time: %+v", r)
	}
	if strings.Contains(log.String(), "trying") {
		t.Errorf("second time did the work again: %s", log.String())
	}
}
