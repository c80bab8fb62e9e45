package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestReplay does steps of a training again, on two workers, and finds the same bits as then.
func TestReplay(t *testing.T) {
	c := newCluster(t, 1, 2, 1)
	c.digits()
	id := c.submit(c.spec("train", strings.Replace(longMLP("train", 120), "every_steps: 250", "every_steps: 40, keep: {latest: 10}", 1)))
	c.completed(id, 2*time.Minute)
	list, err := c.api.Checkpoints.ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: id}))
	if err != nil {
		t.Fatal(err)
	}
	all := list.Msg.GetCheckpoints() // newest first
	first, before, last := all[len(all)-1], all[1], all[0]
	if first.GetStep() > 100 || last.GetStep() != 120 {
		t.Fatalf("checkpoints %v", all)
	}
	if out := c.run(0, "checkpoint", "verify", first.GetId(), "--replay", "20"); !strings.Contains(out, "is whole. 20 steps from step") || !strings.Contains(out, "gave the same bits as then") {
		t.Errorf("the replay says %s", out)
	}
	var shown struct {
		Job struct {
			Replay struct {
				Same  bool  `json:"same"`
				Steps int64 `json:"steps"`
			} `json:"replay"`
		} `json:"job"`
	}
	decode(t, c.run(0, "checkpoint", "verify", first.GetId(), "--replay", "3", "-o", "json"), &shown)
	if !shown.Job.Replay.Same || shown.Job.Replay.Steps != 3 {
		t.Errorf("the replay is shown as %+v", shown)
	}
	// Near the end there are fewer steps than asked for, which is no failure, and is said.
	rest := 120 - before.GetStep()
	want := fmt.Sprintf("%d of %d steps from step %d gave the same bits as then. The training ends at step 120.", rest, rest+2, before.GetStep())
	if out := c.run(0, "checkpoint", "verify", before.GetId(), "--replay", fmt.Sprint(rest+2)); !strings.Contains(out, want) {
		t.Errorf("the replay near the end says %s", out)
	}
	if c.run(9, "checkpoint", "verify", last.GetId(), "--replay", "20"); !strings.Contains(c.stderr, "take an earlier one") {
		t.Errorf("a replay of nothing says %s", c.stderr)
	}
}
