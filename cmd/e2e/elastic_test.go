package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// elasticJob goes on with one worker when the other is lost.
func elasticJob(steps int) string {
	return fmt.Sprintf(`
name: elastic
dataset: digits
model: {mlp: {hidden: [128]}}
training: {batch: 96, steps: %d, optimizer: {name: sgd, lr: 0.01, momentum: 0.9}, seed: 3}
resources: {workers: 2, min: 1, max: 2}
max_restarts: 1000
evaluate: {every_steps: 5000}
`, steps)
}

// TestElastic takes ranks from a job that may go on with one, and gives them back: killed, stopped, scaled, drained. It
// never goes back to a checkpoint. How long it stood still each time is in the log (go test -v); a test is no place to judge it.
func TestElastic(t *testing.T) {
	ledger := ledgerFolder(t)
	c := newClusterWith(t, 1, 2, 1, "TANDEM_LEDGER="+ledger)
	c.digits()
	id := c.submit(c.spec("elastic", elasticJob(10_000_000)))
	last := func() used {
		lines := readLedger(t, filepath.Join(ledger, "*.jsonl"))
		if len(lines) == 0 {
			return used{}
		}
		return slices.MaxFunc(lines, func(a, b used) int { return int(a.At - b.At) })
	}
	trainsOn := func(world int, after time.Time) (first time.Time) {
		eventually(t, time.Minute, fmt.Sprintf("a step of %d ranks", world), func() bool {
			lines := readLedger(t, filepath.Join(ledger, "*.jsonl"))
			lines = slices.DeleteFunc(lines, func(u used) bool { return u.World != world || u.At <= after.UnixNano() })
			if len(lines) == 0 {
				return false
			}
			first = time.Unix(0, slices.MinFunc(lines, func(a, b used) int { return int(a.At - b.At) }).At)
			return true
		})
		return first
	}
	trainsOn(2, time.Time{})
	stopAfter := func(what string, signal syscall.Signal, worker int) time.Duration {
		engines := under(c.workerDir(worker))
		if len(engines) != 1 {
			t.Fatalf("worker %d has %d engines", worker+1, len(engines))
		}
		at := time.Now()
		if err := syscall.Kill(engines[0].pid, signal); err != nil {
			t.Fatal(err)
		}
		alone := trainsOn(1, at)
		still, grown := alone.Sub(at), trainsOn(2, alone).Sub(at)
		t.Logf("%s: %v to the next step, on one rank; %v until two train again", what, still.Round(time.Millisecond),
			grown.Round(time.Millisecond))
		return still
	}
	var times []time.Duration
	for i := range 5 {
		times = append(times, stopAfter("killed", syscall.SIGKILL, i%2))
	}
	slices.Sort(times)
	t.Logf("killed: median %v, longest %v", times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
	stopAfter("stopped", syscall.SIGSTOP, 1)

	for _, workers := range []int{1, 2} {
		at := time.Now()
		c.run(0, "scale", id, "--workers", fmt.Sprint(workers))
		t.Logf("scaled to %d: %v", workers, trainsOn(workers, at).Sub(at).Round(time.Millisecond))
	}
	at := time.Now()
	c.run(0, "node", "drain", "worker-2")
	trainsOn(1, at) // whoever is left
	eventually(t, 20*time.Second, "the drained node is empty", func() bool { return len(under(c.workerDir(1))) == 0 })
	at = time.Now()
	c.run(0, "node", "uncordon", "worker-2")
	trainsOn(2, at)

	_, trial, err := job(t.Context(), c.api, id)
	if err != nil {
		t.Fatal(err)
	}
	events := c.run(0, "events", "--job", id)
	if strings.Contains(events, "lost its ranks") || trial.GetGeneration() < 12 {
		t.Errorf("generation %d; it went back:\n%s", trial.GetGeneration(), events)
	}
	reached := last().Step
	c.run(0, "cancel", "-y", id)
	checkSteps(t, readLedger(t, filepath.Join(ledger, "*.jsonl")), reached-1)
}

// ledgerFolder is where engines write down which rows they use.
func ledgerFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ledger-")
	if err == nil {
		err = os.Chmod(dir, 0o777) // engines, which run as another user, write there
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// checkSteps proves that every step up to the last was applied, and none again by a later generation but the one that was
// in flight when the group changed.
func checkSteps(t *testing.T, lines []used, last int64) {
	t.Helper()
	generations := map[int64][]int64{}
	for _, u := range lines {
		if !slices.Contains(generations[u.Step], u.Generation) {
			generations[u.Step] = append(generations[u.Step], u.Generation)
		}
	}
	again := 0
	for step := int64(1); step <= last; step++ {
		switch n := len(generations[step]); {
		case n == 0:
			t.Fatalf("step %d was left out", step)
		case n > 2:
			t.Errorf("step %d was done by generations %v", step, generations[step])
		case n == 2:
			again++
		}
	}
	t.Logf("%d steps, %d of them done again", last, again)
	if again > 12 {
		t.Errorf("%d steps were done again: more than the one in flight at each change", again)
	}
}
