package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestParsePath(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/tandem.service\n":     "/system.slice/tandem.service",
		"9:name=systemd:/\n4:memory:/x\n0::/\n": "/",
		"4:memory:/x\n":                         "",
		"0::/../other\n":                        "", // outside of the namespace
		"":                                      "",
	} {
		path, ok := parsePath(text)
		if want != "" && path != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, path, ok, want)
		}
	}
}

// TestFit: what a cgroup must be to be divided.
func TestFit(t *testing.T) {
	whole := map[string]string{
		fileType: "domain\n", fileControllers: "cpuset cpu io memory pids\n", fileProcesses: "7\n", fileKill: "",
	}
	for name, tc := range map[string]struct {
		change map[string]string // "-": the file is missing
		want   string
	}{
		"delegated":        {nil, ""},
		"the root":         {map[string]string{fileType: "-"}, "root of all cgroups"},
		"threaded":         {map[string]string{fileType: "threaded\n"}, `"threaded"`},
		"below threads":    {map[string]string{fileType: "domain invalid\n"}, `"domain invalid"`},
		"shared":           {map[string]string{fileProcesses: "7\n9\n"}, "2 in all"},
		"with one outside": {map[string]string{fileProcesses: "0\n7\n"}, "2 in all"}, // of another namespace of processes
		"another's":        {map[string]string{fileProcesses: "77\n"}, "1 in all"},
		"no memory":        {map[string]string{fileControllers: "hugetlb pids\n"}, `"memory"`},
		"no processes":     {map[string]string{fileControllers: "memory\n"}, `"pids"`},
		"no controllers":   {map[string]string{fileControllers: "\n"}, `"memory"`},
		"an old kernel":    {map[string]string{fileKill: "-"}, "5.14"},
	} {
		files := maps.Clone(whole)
		maps.Copy(files, tc.change)
		group := fstest.MapFS{}
		for file, text := range files {
			if text != "-" {
				group[file] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		err := fit(group, 7)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestSettings(t *testing.T) {
	got := Limits{Memory: 64 << 20, Processes: 100}.settings()
	want := []setting{
		{"memory.oom.group", "1", false}, {"memory.swap.max", "0", true}, {"memory.max", "67108864", false}, {"pids.max", "100", false},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(setting{})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[:2], Limits{}.settings(), cmp.AllowUnexported(setting{})); d != "" {
		t.Error(d)
	}
}

func TestToll(t *testing.T) {
	for text, want := range map[string]Toll{
		"low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n": {},
		"low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n": {Killed: true, Own: true},
		"low 0\nhigh 0\nmax 12\noom 0\noom_kill 3\noom_group_kill 1\n": {Killed: true},
		"": {},
	} {
		if got := tollOf(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// TestMachine holds Find to what this machine says of itself, read another way.
func TestMachine(t *testing.T) {
	dir, err := Find()
	mount := ""
	table, readErr := os.ReadFile("/proc/self/mounts")
	must(t, readErr)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); f[2] == "cgroup2" && slices.Contains(mounts, f[1]) {
			mount = f[1]
		}
	}
	if mount == "" {
		if err == nil {
			t.Errorf("%s is to be divided where no cgroups of version 2 are mounted", dir)
		}
		return
	}
	own, readErr := os.ReadFile("/proc/self/cgroup")
	must(t, readErr)
	_, path, _ := strings.Cut("\n"+string(own), "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	own, _ = os.ReadFile(filepath.Join(mount, path, fileProcesses))
	alone := strings.TrimSpace(string(own)) == strconv.Itoa(os.Getpid())
	controllers, _ := os.ReadFile(filepath.Join(mount, path, fileControllers))
	bounded := strings.Contains(string(controllers), "memory") && strings.Contains(string(controllers), "pids")
	switch {
	case path == "/" && mount == "/sys/fs/cgroup/unified", !alone, !bounded:
		if err == nil {
			t.Errorf("%s is to be divided: alone %v, controllers %q", dir, alone, controllers)
		}
	case err == nil && dir != filepath.Join(mount, path):
		t.Errorf("%s is to be divided, and not %s", dir, filepath.Join(mount, path))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
