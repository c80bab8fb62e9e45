package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem.dev/coordinator/state"
)

// TestHangBeforeChange stops a rank just before its job grows, and one that was to stay just before it shrinks: the groups that are committed
// then wait for it. The others find out all the same, nothing is lost, and no restart is used up, of which the job has none.
func TestHangBeforeChange(t *testing.T) {
	ledger := ledgerFolder(t)
	c := newClusterWith(t, 1, 3, 1, "TANDEM_LEDGER="+ledger)
	c.digits()
	spec := strings.Replace(elasticJob(10_000_000), "max: 2", "max: 3", 1)
	id := c.submit(c.spec("run", strings.Replace(spec, "max_restarts: 1000", "max_restarts: 0", 1)))
	lines := func() []used { return readLedger(t, filepath.Join(ledger, "*.jsonl")) }
	reached := func(world int, after time.Time) {
		eventually(t, time.Minute, "a step of another group", func() bool {
			return slices.ContainsFunc(lines(), func(u used) bool { return u.World == world && u.At > after.UnixNano() })
		})
	}
	reached(2, time.Time{})
	for _, change := range []struct{ from, to string }{{"2", "3"}, {"3", "1"}} {
		at := time.Now()
		if err := syscall.Kill(oldest(t, c.dir).pid, syscall.SIGSTOP); err != nil { // who stays when a group shrinks
			t.Fatal(err)
		}
		c.run(0, "scale", id, "--workers", change.to)
		reached(int(change.to[0]-'0'), at)
		_, still := paceOf(lines(), at, time.Now())
		t.Logf("a rank hangs and %s ranks become %s: %v without a step", change.from, change.to, still.Round(time.Millisecond))
	}
	_, trial, err := job(t.Context(), c.api, id)
	if err != nil {
		t.Fatal(err)
	}
	events := c.run(0, "events", "--job", id)
	if trial.GetRestarts() != 0 || strings.Contains(events, "lost its ranks") || strings.Count(events, "did not answer") != 2 {
		t.Errorf("%d restarts:\n%s", trial.GetRestarts(), events)
	}
	last := slices.MaxFunc(lines(), func(a, b used) int { return int(a.Step - b.Step) }).Step
	c.run(0, "cancel", "-y", id)
	checkSteps(t, lines(), last-1)
}

// oldest is the engine of the member with the lowest number.
func oldest(t *testing.T, dir string) engine {
	t.Helper()
	number := func(e engine) int32 {
		_, n, ok := state.ParseEngineID(e.args[slices.Index(e.args, "--engine")+1])
		if !ok {
			t.Fatalf("%v is not a member's", e.args)
		}
		return n
	}
	return slices.MinFunc(under(dir), func(a, b engine) int { return int(number(a) - number(b)) })
}

// TestDrainIsExact drains the node that all ranks of a job are on, which could have more of them: others elsewhere take their places, no step
// is done by more ranks than before, nor again, and all evaluations are those of an undisturbed run bit for bit.
func TestDrainIsExact(t *testing.T) {
	ledger := ledgerFolder(t)
	c := newClusterWith(t, 1, 2, 2, "TANDEM_LEDGER="+ledger)
	c.digits()
	for name, ranks := range map[string]int{"workers: 2, max: 4": 2, "workers: 1": 1} {
		path := c.spec("run", strings.Replace(longMLP("run", 1500), "workers: 2", name, 1))
		_, want := c.completed(c.submit(path), 2*time.Minute)
		id := c.submit(path)
		_, trial, err := job(t.Context(), c.api, id)
		if err != nil {
			t.Fatal(err)
		}
		lines := func() []used { return readLedger(t, filepath.Join(ledger, trial.GetId()+"-*.jsonl")) }
		eventually(t, time.Minute, "training is under way", func() bool { return len(lines()) > 300 })
		at := 0
		if len(under(c.workerDir(1))) > 0 {
			at = 1
		}
		c.run(0, "node", "drain", nameOf("worker", at))
		eventually(t, 30*time.Second, "the drained node is empty", func() bool { return len(under(c.workerDir(at))) == 0 })
		_, got := c.completed(id, 2*time.Minute)
		c.run(0, "node", "uncordon", nameOf("worker", at))
		sameEvaluations(t, want, got)
		sameWeights(t, c.weights(want), c.weights(got))
		done := map[int64]int{}
		for _, u := range lines() {
			done[u.Step]++
		}
		for step := int64(1); step <= got.GetTotalSteps(); step++ {
			if done[step] != ranks {
				t.Fatalf("%s: %d ranks did step %d", name, done[step], step)
			}
		}
		events := c.run(0, "events", "--job", id)
		if got.GetRestarts() != 0 || !strings.Contains(events, "passes its state along") || strings.Contains(events, "stops with a checkpoint") {
			t.Errorf("%s: %d restarts:\n%s", name, got.GetRestarts(), events)
		}
	}
}
