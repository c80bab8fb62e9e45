package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
)

// mutant is one planted fault and the tests that must notice it.
type mutant struct {
	Promise  string   `yaml:"promise"` // what the fault breaks
	File     string   `yaml:"file"`
	From     string   `yaml:"from"` // stands in the file once
	To       string   `yaml:"to"`
	Tests    []string `yaml:"tests"`    // packages
	Libtorch bool     `yaml:"libtorch"` // the tests are linked to it
}

// mutants breaks the code once for each entry of a file, in a copy that only the compiler sees (go test -overlay), and
// tells which faults the tests do not notice. ok is false when there is one.
func mutants(path string, flags []string, out io.Writer) (ok bool, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("read the mutants: %w", err)
	}
	var all []mutant
	if err := yaml.Unmarshal(text, &all); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return false, fmt.Errorf("make a folder for the mutants: %w", err)
	}
	defer os.RemoveAll(dir)
	caught := 0
	for _, m := range all {
		noticed, err := m.test(dir, flags)
		if err != nil {
			return false, err
		}
		verdict := "NOT NOTICED"
		if noticed {
			verdict = "caught"
			caught++
		}
		fmt.Fprintf(out, "%-11s  %s (%s)\n", verdict, m.Promise, m.File)
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", caught, len(all)-caught)
	return caught == len(all) && caught > 0, nil
}

// mutantsFile has the faults of this repository.
const mutantsFile = ".ci/mutants.yaml"

// mutants finds those that do not fit the code any more: nobody would notice before the next run of all of them, which is long.
func (p *problems) mutants(tree fs.FS) {
	text, err := fs.ReadFile(tree, mutantsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var all []mutant
	if err == nil {
		err = yaml.Unmarshal(text, &all)
	}
	if err != nil {
		p.add("%s: %v", mutantsFile, err)
		return
	}
	for _, m := range all {
		if len(m.Tests) == 0 {
			p.add("%s: %q: it has no tests", mutantsFile, m.Promise)
		}
		code, err := fs.ReadFile(tree, m.File)
		if n := bytes.Count(code, []byte(m.From)); err != nil || n != 1 {
			p.add("%s: %q: its text stands %d times in %s, and has to stand there once", mutantsFile, m.Promise, n, m.File)
		}
	}
}

// test tells whether the tests notice the fault. A mutant that does not compile is an error: nothing was tested.
func (m mutant) test(dir string, flags []string) (noticed bool, err error) {
	source, err := os.ReadFile(m.File)
	if err != nil {
		return false, fmt.Errorf("mutant of %q: %w", m.Promise, err)
	}
	if n := strings.Count(string(source), m.From); n != 1 {
		return false, fmt.Errorf("mutant of %q: %q stands %d times in %s, not once; the code has changed, so change the mutant", m.Promise, m.From, n, m.File)
	}
	copied := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(copied, []byte(strings.Replace(string(source), m.From, m.To, 1)), 0o600); err != nil {
		return false, fmt.Errorf("write the mutant: %w", err)
	}
	original, err := filepath.Abs(m.File)
	if err != nil {
		return false, fmt.Errorf("find %s: %w", m.File, err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: copied}})
	if err != nil {
		return false, fmt.Errorf("encode the overlay: %w", err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return false, fmt.Errorf("write the overlay: %w", err)
	}
	cgo := "CGO_ENABLED=0"
	if m.Libtorch {
		cgo = "CGO_ENABLED=1"
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command("go", args...)                        //nolint:gosec // the project's own list of mutants
		cmd.Env = append(os.Environ(), cgo, "RAPID_NOFAILFILE=1") // what fails for a mutant is nothing to try again without it
		return cmd
	}
	if text, err := command(append([]string{"test", "-overlay", list, "-run", "^$"}, m.Tests...)...).CombinedOutput(); err != nil {
		return false, fmt.Errorf("mutant of %q does not compile: %w\n%s", m.Promise, err, text)
	}
	err = command(append(append([]string{"test", "-overlay", list, "-timeout", "3m"}, flags...), m.Tests...)...).Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return false, fmt.Errorf("test the mutant of %q: %w", m.Promise, err)
	}
	return err != nil, nil
}
