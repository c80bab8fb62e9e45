package sandbox

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"tandem.dev/worker/cgroup"
)

// TestDetect holds what is found to what the kernel says of itself in its files.
func TestDetect(t *testing.T) {
	f := Detect()
	for _, tc := range []struct {
		name, file, word string
		has              bool
	}{
		{"Landlock", "/sys/kernel/security/lsm", "landlock", f.Landlock > 0},
		{"filters of calls", "/proc/sys/kernel/seccomp/actions_avail", "errno", f.Seccomp},
	} {
		b, err := os.ReadFile(tc.file)
		if errors.Is(err, os.ErrNotExist) {
			continue // securityfs is not mounted in a container
		}
		must(t, err)
		words := strings.FieldsFunc(string(b), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
		said := false
		for _, word := range words {
			said = said || word == tc.word
		}
		if tc.has && !said || said && !tc.has && tc.word != "landlock" { // an old Landlock counts as none
			t.Errorf("%s: %v, and %s has %q", tc.name, tc.has, tc.file, b)
		}
	}
	if f.User && os.Geteuid() != 0 {
		t.Error("an ordinary user may change users")
	}
	// The whole line of cgroups is in /proc: one that is alone in a cgroup with both controllers may divide it.
	if _, err := cgroup.Find(); f.Memory != (err == nil) {
		t.Errorf("memory: %v, %v", f.Memory, err)
	}
}

// TestCgroupTakesOver: where an engine has a cgroup, that bounds memory and processes, and the process's own limits do not.
func TestCgroupTakesOver(t *testing.T) {
	h := Host{Limits: Limits{Memory: 1 << 30, Threads: 100, Files: 10}}
	for name, tc := range map[string]struct {
		memory bool
		user   int
		limits Limits
		cgroup cgroup.Limits
	}{
		"cgroup":                {true, 1000, Limits{Files: 10}, cgroup.Limits{Memory: 1 << 30, Processes: 100}},
		"cgroup, its own user":  {true, Own, Limits{Files: 10}, cgroup.Limits{Memory: 1 << 30, Processes: 100}},
		"neither":               {false, 1000, Limits{Memory: 1 << 30, Threads: 100, Files: 10}, cgroup.Limits{}},
		"neither, its own user": {false, Own, Limits{Memory: 1 << 30, Files: 10}, cgroup.Limits{}},
	} {
		h.Features.Memory = tc.memory
		p := h.Policy(Need{User: tc.user}, func(string) []string { return nil })
		if p.Limits != tc.limits || p.Cgroup != tc.cgroup {
			t.Errorf("%s: %+v, %+v", name, p.Limits, p.Cgroup)
		}
	}
}

// TestCheckMemory: an engine that is not in a cgroup with its limit gets no task.
func TestCheckMemory(t *testing.T) {
	p := Policy{User: Own, Cgroup: cgroup.Limits{Memory: 1<<30 + 1}}
	for bytes, ok := range map[int64]bool{1 << 30: true, 1 << 29: true, 0: false, 1 << 31: false} {
		if err := p.check(Status{NoNewPrivs: true, Memory: bytes}); (err == nil) != ok {
			t.Errorf("%s bytes: %v", strconv.FormatInt(bytes, 10), err)
		}
	}
}
