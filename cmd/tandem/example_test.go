package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tandem.dev/cmd/tandem/spec"
	specs "tandem.dev/coordinator/spec"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// TestExamples: every example is a spec that a coordinator with its dataset takes. Completed and written as --dry-run -o yaml writes it, it
// is so again, and means the same.
func TestExamples(t *testing.T) {
	datasets := map[string]*tandemv1.Dataset{
		"digits": {
			Id: "data-1", Name: "digits", Version: 1, Task: "classification", Shape: []int64{1, 8, 8}, Classes: 10,
			Rows: map[string]int64{"train": 1437, "validation": 180, "test": 180},
		},
		"prose": {Id: "data-2", Name: "prose", Version: 1, Task: "language", Shape: []int64{64}, Classes: 256, Rows: map[string]int64{"train": 300, "validation": 30}},
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "*", "*.yaml"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%v, or there are only %v", err, files)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := spec.Parse(file, b, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		find := func(ref string) (*tandemv1.Dataset, error) {
			name, _, _ := strings.Cut(ref, "@")
			if datasets[name] == nil {
				return nil, fmt.Errorf("no dataset %q", ref)
			}
			return datasets[name], nil
		}
		complete, err := specs.Complete(s, find)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		again, err := specs.Complete(written(t, complete), find)
		if diff := cmp.Diff(complete, again, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%s: submitted again it is another (-want +got), %v:\n%s", file, err, diff)
		}
		if complete.GetKind() != "sweep" {
			continue
		}
		if !strings.Contains(string(b), "#   tandem submit -f examples/sweeps/"+filepath.Base(file)+" --wait\n") {
			t.Errorf("%s does not say how to submit it", file)
		}
		if _, err := search.New(specs.Config(complete, nil)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// written is a spec that was written as YAML and read again.
func written(t *testing.T, s *tandemv1.JobSpec) *tandemv1.JobSpec {
	t.Helper()
	b, err := encodeJSON(s)
	if err == nil {
		b, err = encodeYAML(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	read, err := spec.Parse("written.yaml", b, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return read
}
