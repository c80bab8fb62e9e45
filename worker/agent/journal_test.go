package agent

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/child"
)

func TestJournal(t *testing.T) {
	j := journal{dir: filepath.Join(t.TempDir(), "engines")}
	_, _, err := j.read()
	must(t, err)
	key := taskKey{"alloc-1/0", 7}
	must(t, j.record(key, false, os.Getpid()))
	must(t, os.WriteFile(filepath.Join(j.dir, "torn.json"), []byte(`{"id":`), 0o600))
	entries, torn, err := j.read()
	must(t, err)
	if len(torn) != 1 || filepath.Base(torn[0]) != "torn.json" {
		t.Errorf("torn are %v", torn)
	}
	if len(entries) != 1 || entries[0].key() != key || entries[0].Process != child.Identify(os.Getpid()) {
		t.Fatalf("read %+v", entries)
	}
	must(t, j.forget(key))
	must(t, j.forget(key))
	if entries, _, err = j.read(); len(entries) != 0 || err != nil {
		t.Errorf("after forget: %v %v", entries, err)
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"id":"alloc-1/0","generation":7,"pid":1234,"start_ticks":5588,"exe":"/usr/bin/tandem-engine","boot_id":"b"}`))
	f.Add([]byte(`{"id":"../../etc/passwd","generation":-1,"replica":true,"pid":-1}`))
	f.Add([]byte(`{"id":`))
	f.Add([]byte(`{"pid":1}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEntry(b)
		if !ok {
			return
		}
		if name := fileName(e.key()); filepath.Base(name) != name {
			t.Errorf("%q has the file %q", e.ID, name)
		}
		e.BootID = "of no machine"
		if was, err := e.Kill(); was || err != nil {
			t.Errorf("%+v: %v, %v", e, was, err)
		}
		said, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := parseEntry(said); !ok || again != e {
			t.Errorf("%+v became %+v", e, again)
		}
	})
}

func TestIncarnation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incarnation")
	last := int64(0)
	// The clock goes back, the file is torn and lost.
	for i, now := range []int64{1000, 1001, 500, 500} {
		n, err := nextIncarnation(path, time.UnixMilli(now))
		must(t, err)
		if n <= last {
			t.Errorf("start %d: %d after %d", i, n, last)
		}
		last = n
	}
	must(t, os.WriteFile(path, []byte("tor"), 0o600))
	if n, err := nextIncarnation(path, time.UnixMilli(5000)); n != 5000 || err != nil {
		t.Errorf("torn file: %d %v", n, err)
	}
}

func TestSlots(t *testing.T) {
	cpu := device{Kind: "cpu", Name: "Xeon"}
	gpu := []device{cpu, {Kind: "cuda", Index: 0, Name: "H100", MemoryBytes: 80}, {Kind: "cuda", Index: 1, Name: "H100", MemoryBytes: 80}}
	slot := func(id, device string, index int32, name string, memory int64, threads int32) *tandemv1.Slot {
		return &tandemv1.Slot{Id: id, Device: device, Index: index, Name: name, MemoryBytes: memory, Threads: threads}
	}
	for _, tc := range []struct {
		name        string
		devices     []device
		want, cores int
		slots       []*tandemv1.Slot
	}{
		{"one CPU slot", []device{cpu}, 0, 8, []*tandemv1.Slot{slot("cpu0", "cpu", 0, "Xeon", 0, 8)}},
		{"more slots than cores", []device{cpu}, 2, 1, []*tandemv1.Slot{slot("cpu0", "cpu", 0, "Xeon", 0, 1), slot("cpu1", "cpu", 1, "Xeon", 0, 1)}},
		{"devices", gpu, 0, 12, []*tandemv1.Slot{slot("cuda0", "cuda", 0, "H100", 80, 6), slot("cuda1", "cuda", 1, "H100", 80, 6)}},
		{"CPU slots beside devices", gpu, 1, 12, []*tandemv1.Slot{slot("cpu0", "cpu", 0, "Xeon", 0, 12)}},
		{"nothing said", nil, 0, 2, []*tandemv1.Slot{slot("cpu0", "cpu", 0, "CPU", 0, 2)}},
	} {
		if d := cmp.Diff(tc.slots, slotsOf(tc.devices, tc.want, tc.cores), protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
	env := environment(nil, nil, slot("cuda1", "cuda", 1, "", 0, 6), 6)
	if got := strings.Join(env, " "); !strings.Contains(got, "CUDA_VISIBLE_DEVICES=1 ") || !strings.Contains(got, "OMP_NUM_THREADS=6 ") {
		t.Errorf("environment %s", got)
	}
}

func TestSocketFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	long := "/data/" + strings.Repeat("x", 120)
	dir, err := socketFolder(long)
	must(t, err)
	again, err := socketFolder(long)
	must(t, err)
	if dir != again || len(dir) > 100 {
		t.Errorf("folders %s and %s", dir, again)
	}
	must(t, os.Chmod(dir, 0o755)) //nolint:gosec // the fault under test
	if _, err := socketFolder(long); err == nil {
		t.Error("a folder that others may enter was taken")
	}
}
