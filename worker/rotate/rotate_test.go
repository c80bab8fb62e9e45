package rotate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRotate: lines stay whole and in order, and of the older files only as many stay as were asked for.
func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "a.log")
	r, err := Open(path, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"111111\n", "222222\n", "333333\n", "444444\n", "5\n"} {
		if err := r.Append([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(name)] = string(b)
	}
	want := map[string]string{"a.log": "444444\n5\n", "a.log.1": "333333\n", "a.log.2": "222222\n"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
