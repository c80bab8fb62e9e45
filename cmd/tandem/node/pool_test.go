package node

import (
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func TestPolicyText(t *testing.T) {
	for want, p := range map[string]*tandemv1.PoolPolicy{
		"pool a: order fifo, placement pack":                        {Name: "a", Order: "fifo", Placement: "pack"},
		"pool a: order fifo, placement spread, racks by label rack": {Name: "a", Order: "fifo", Placement: "spread", RackLabel: "rack"},
	} {
		if got := policyText(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
