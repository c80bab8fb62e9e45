package consensus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/leader"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestNobodyWritesAboveTheLevel: a command of level 2 is refused, at the leader and through a follower, until all voters have
// said that they know it; the refusal names who holds it up.
func TestNobodyWritesAboveTheLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		propose(t, c, 0, &tandemv1.Command{Command: &tandemv1.Command_CreateCluster{CreateCluster: &tandemv1.CreateCluster{Cluster: &tandemv1.Cluster{Id: "cluster-1"}}}})
		above := &tandemv1.Command{Command: &tandemv1.Command_Quarantine{Quarantine: &tandemv1.Quarantine{}}}
		next := func() int32 {
			level, _ := leader.NextLevel(c.State(c.Leader()).View(), c.Node(c.Leader()).Peers(), 2)
			return level
		}
		refused := func(want ...string) {
			t.Helper()
			for _, i := range []int{c.Leader(), c.Follower()} {
				_, err := c.Node(i).Propose(context.Background(), above)
				if !errors.Is(err, consensus.ErrLevel) {
					t.Fatalf("at %d: %v, want ErrLevel", i, err)
				}
				for _, w := range want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("at %d: %v, want one with %q", i, err, w)
					}
				}
			}
		}
		refused("coordinator-0 (has not said its version yet)")
		announce(t, c, 0, 2)
		announce(t, c, 1, 2)
		announce(t, c, 2, 1)
		c.WaitApplied()
		refused("coordinator-2 (version test, level 1)")
		if next() != 0 {
			t.Error("raised though a voter does not know level 2")
		}
		announce(t, c, 2, 2)
		c.WaitApplied()
		refused("about to be raised")
		if next() != 2 {
			t.Error("not raised though all voters know level 2")
		}
		raise(t, c)
		c.WaitApplied()
		if _, err := c.Node(c.Leader()).Propose(context.Background(), above); errors.Is(err, consensus.ErrLevel) {
			t.Errorf("after the level was raised: %v", err)
		}
		if next() != 0 {
			t.Error("raised above what this program knows")
		}
	})
}
