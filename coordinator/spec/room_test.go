package spec

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestLongLists: 62 sweeps over lists of lists took a coordinator to 1.2 GB.
func TestLongLists(t *testing.T) {
	ints := "[" + strings.Repeat("8,", 63) + "8]"
	in := parse(t, strings.Replace(wide(1), `{"choice":[[1]]}`, `{"choice":[`+strings.Repeat(ints+",", 62)+ints+`]}`, 1))
	_, err := Complete(in, find)
	if err == nil || !strings.Contains(err.Error(), "search.space: has 4100 values in all, at most 4096 are allowed") {
		t.Errorf("%.300v", err)
	}
	in = parse(t, wide(1))
	in.Name = "s"
	in.Model.GetMlp().Activation = strings.Repeat("x", MaxBytes)
	if _, err := Complete(in, find); err == nil || !strings.Contains(err.Error(), "spec: takes 128 KiB, at most 128 are allowed") {
		t.Errorf("%.300v", err)
	}
}

// TestRoom: what large specs take in all is limited for a project, and small ones do not count.
func TestRoom(t *testing.T) {
	small, large := parse(t, wide(1)), parse(t, wide(1000))
	jobs := []*tandemv1.Job{}
	for range 100 {
		jobs = append(jobs, &tandemv1.Job{Spec: small})
	}
	total := 0
	for total += proto.Size(large); total <= maxLargeBytes; total += proto.Size(large) {
		if err := Room(jobs, large); err != nil {
			t.Fatalf("after %d of %d bytes: %v", total, maxLargeBytes, err)
		}
		jobs = append(jobs, &tandemv1.Job{Spec: large})
	}
	if err := Room(jobs, large); err == nil || !strings.Contains(err.Error(), "4 MiB of large specs") {
		t.Errorf("with %d jobs: %v", len(jobs), err)
	}
	if err := Room(jobs, small); err != nil {
		t.Errorf("a small spec: %v", err)
	}
}
