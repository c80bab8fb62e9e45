package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build's output
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

// testRun collects one stream of events.
type testRun struct {
	out                     io.Writer
	output                  map[string][]string // by test, "package test", until it is known whether it is wanted
	failedIn                map[string]bool     // packages with a failed test
	skips                   []string
	passed, failed, skipped int
}

// summarise shows the output of what failed, a line for each package, every skip with its reason, and ends with the counts
// alone on a line. Subtests count as tests. ok is false when anything failed or nothing ran.
func summarise(in io.Reader, out io.Writer) (ok bool, err error) {
	r := testRun{out: out, output: map[string][]string{}, failedIn: map[string]bool{}}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(out, sc.Text()) // the go command itself speaks
			continue
		}
		r.take(e)
	}
	if err := sc.Err(); err != nil {
		return false, fmt.Errorf("read go test -json: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(r.output)) {
		if len(r.output[key]) > 0 { // the stream ended before the test did
			fmt.Fprintf(out, "unfinished: %s\n%s", key, strings.Join(r.output[key], ""))
			r.failed++
		}
	}
	for _, s := range r.skips {
		fmt.Fprintln(out, "skipped:", s)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0 && r.passed > 0, nil
}

func (r *testRun) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "run", "start":
		r.output[key] = nil
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, r.output[key])
		} else {
			r.endTest(e, r.output[key])
		}
		delete(r.output, key)
	}
}

func (r *testRun) endTest(e event, output []string) {
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped++
		r.skips = append(r.skips, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(output)))
	case "fail":
		r.failed++
		r.failedIn[e.Package] = true
		fmt.Fprint(r.out, strings.Join(output, ""))
	}
}

func (r *testRun) endPackage(e event, output []string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %s %.1fs\n", e.Package, e.Elapsed)
	case "fail":
		// A panic, a race, a leak found at the end, or code that does not compile: no test of its own says so.
		if !r.failedIn[e.Package] {
			r.failed++
		}
		fmt.Fprint(r.out, strings.Join(output, ""))
		fmt.Fprintf(r.out, "FAIL  %s %.1fs\n", e.Package, e.Elapsed)
	}
}

// reason is what a test said when it skipped itself.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}
