package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// buildPrevious builds a program that knows one feature level less, as that of the release before.
func buildPrevious(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "tandem-previous")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "previous", "-o", out, "tandem.dev/cmd/tandem")
	cmd.Dir, cmd.Env = programs.repository, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the previous program: %v\n%s", err, text)
	}
	return out
}

// become ends a process as an operator would and starts another program in its place.
func (p *process) become(program string) {
	p.t.Helper()
	p.stop()
	p.program = program
	p.start()
}

// TestRollingUpgrade upgrades three coordinators and two workers one at a time in the middle of a training, and one of them back before
// the level is raised. The evaluations equal those of an undisturbed training. Afterwards the old program does not start.
func TestRollingUpgrade(t *testing.T) {
	newest := programs.tandem
	programs.tandem = buildPrevious(t)
	t.Cleanup(func() { programs.tandem = newest })
	c := newCluster(t, 3, 2, 1)
	c.digits()
	cluster := func() *tandemv1.GetClusterResponse {
		res, err := c.api.Cluster.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
		if err != nil {
			return nil
		}
		return res.Msg
	}
	_, calm := c.completed(c.submit(c.spec("calm", longMLP("calm", 1500))), 3*time.Minute)
	id := c.submit(c.spec("long", longMLP("long", 1500)))
	steps := c.watchSteps()
	eventually(t, time.Minute, "training is under way", func() bool { return steps.last() > 50 })

	upgrade := func(i int, program string, level int32) {
		t.Helper()
		c.coordinators[i].become(program)
		eventually(t, 30*time.Second, c.coordinators[i].name+" says its level", func() bool {
			for _, p := range cluster().GetPeers() {
				if p.GetAddress() == c.addresses[i] && p.GetAlive() && p.GetLevel() == level {
					return true
				}
			}
			return false
		})
	}
	upgrade(0, newest, schema.Known)
	upgrade(1, newest, schema.Known)
	c.workers[0].become(newest)
	upgrade(0, programs.tandem, schema.Known-1) // back
	eventually(t, 30*time.Second, "the upgraded worker is alive", func() bool {
		return c.alive() == 2 && c.node("worker-1").GetLevel() == schema.Known
	})
	if level := cluster().GetLevel(); level != schema.Known-1 {
		t.Fatalf("the cluster is at level %d while a coordinator knows %d", level, schema.Known-1)
	}
	upgrade(0, newest, schema.Known)
	upgrade(2, newest, schema.Known)
	eventually(t, 30*time.Second, "the level is raised", func() bool { return cluster().GetLevel() == schema.Known })
	c.workers[1].become(newest)
	eventually(t, 30*time.Second, "both workers are upgraded", func() bool {
		return c.alive() == 2 && c.node("worker-2").GetLevel() == schema.Known
	})
	_, trial := c.completed(id, 3*time.Minute)
	sameEvaluations(t, calm, trial)

	old := c.coordinators[2]
	old.become(programs.tandem)
	eventually(t, 30*time.Second, "the old program ends", func() bool {
		select {
		case err := <-old.done:
			old.done <- err
			return true
		default:
			return false
		}
	})
	if text := old.tail(); !strings.Contains(text, "too old for the cluster") {
		t.Errorf("the old program ended with:\n%s", text)
	}
	old.become(newest)
	eventually(t, 30*time.Second, "all coordinators are there again", func() bool { return c.leader() >= 0 })
}
