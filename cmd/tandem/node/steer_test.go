package node

import (
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestLeft: a drain is waited for until neither jobs nor replicas are left.
func TestLeft(t *testing.T) {
	for want, u := range map[string]*tandemv1.NodeUse{
		"":                          {},
		"1 job left":                {AllocationIds: []string{"a"}},
		"2 replicas left":           {ReplicaIds: []string{"r", "s"}},
		"2 jobs and 1 replica left": {AllocationIds: []string{"a", "b"}, ReplicaIds: []string{"r"}},
	} {
		if got := Left(u); got != want {
			t.Errorf("%v: %q, want %q", u, got, want)
		}
	}
}
