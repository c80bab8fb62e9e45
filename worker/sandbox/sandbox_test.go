package sandbox

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/sandbox/sandboxtest"
)

// TestHostile: what a process can do that tries everything, with the whole sandbox and where a part of it is missing. Each part must be seen
// to hold something, and each attempt to fail with the whole.
func TestHostile(t *testing.T) {
	whole := Detect()
	for _, tc := range []struct {
		name    string
		without []tandemv1.SandboxPart
		able    []string // to do besides what is harmless
	}{
		{"whole", nil, nil},
		{"no other user", []tandemv1.SandboxPart{tandemv1.SandboxPart_SANDBOX_PART_USER}, nil},
		{"no scopes", []tandemv1.SandboxPart{tandemv1.SandboxPart_SANDBOX_PART_SIGNALS}, nil},
		{"no ports", []tandemv1.SandboxPart{tandemv1.SandboxPart_SANDBOX_PART_PORTS}, []string{"call a port", "listen"}},
		{"no Landlock", []tandemv1.SandboxPart{tandemv1.SandboxPart_SANDBOX_PART_FILES},
			[]string{"read a file of others", "overwrite", "truncate", "make a file", "list a folder", "call a port", "listen"}},
		{"no filter of calls", []tandemv1.SandboxPart{tandemv1.SandboxPart_SANDBOX_PART_CALLS},
			[]string{"fork", "fork by another signal", "outlive its agent", "call a port by another protocol", "listen", "setns", "keys", "add_key", "fallocate", "landlock"}},
		{"no Landlock and no other user", []tandemv1.SandboxPart{tandemv1.SandboxPart_SANDBOX_PART_FILES, tandemv1.SandboxPart_SANDBOX_PART_USER},
			[]string{"read a file of others", "read a private file", "overwrite", "truncate", "make a file", "list a folder", "call a port", "listen"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if lacks := whole.Lacks(); whole.Landlock < landlockScope || !whole.Seccomp {
				t.Skipf("this kernel lacks %v", lacks)
			}
			if slices.Contains(tc.without, tandemv1.SandboxPart_SANDBOX_PART_FILES) && !whole.User {
				t.Skip("files of one's own user are open without Landlock: run it as root")
			}
			got := unleash(t, whole.Without(tc.without))
			want := slices.Concat(sandboxtest.Harmless, tc.able)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
