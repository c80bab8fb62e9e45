package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLoan: while a job of two workers waits, one of one worker trains on the slot that is free; it is called back when the other can begin,
// the leader is killed meanwhile, and it ends with the bits of an undisturbed run, having done no step twice.
func TestLoan(t *testing.T) {
	ledger := ledgerFolder(t)
	c := newClusterWith(t, 3, 2, 1, "TANDEM_LEDGER="+ledger)
	c.digits()
	alone := func(name string, steps int) string {
		return c.spec(name, strings.Replace(longMLP(name, steps), "workers: 2", "workers: 1", 1))
	}
	small := alone("small", 2500)
	_, want := c.completed(c.submit(small), 2*time.Minute)

	runs := c.submit(alone("runs", 1_000_000))
	eventually(t, time.Minute, "one slot is held", func() bool { return strings.Contains(c.run(0, "list"), "Trains on 1 rank.") })
	wide := c.submit(c.spec("wide", longMLP("wide", 200)))
	if said := c.run(0, "explain", wide); !strings.Contains(said, "number 1 of those that wait") {
		t.Errorf("explain says: %s", said)
	}
	id := c.submit(small)
	_, trial, err := job(t.Context(), c.api, id)
	if err != nil {
		t.Fatal(err)
	}
	lines := func() []used { return readLedger(t, filepath.Join(ledger, trial.GetId()+"-*.jsonl")) }
	eventually(t, time.Minute, "training on loan is under way", func() bool { return len(lines()) > 300 })

	c.run(0, "cancel", "-y", runs)
	leader := c.leader()
	c.coordinators[leader].kill()
	c.completed(wide, 2*time.Minute)
	c.coordinators[leader].start()
	_, got := c.completed(id, 2*time.Minute)
	sameEvaluations(t, want, got)
	sameWeights(t, c.weights(want), c.weights(got))
	done := map[int64]int{}
	for _, u := range lines() {
		done[u.Step]++
	}
	for step := int64(1); step <= got.GetTotalSteps(); step++ {
		if done[step] != 1 {
			t.Fatalf("step %d was done %d times", step, done[step])
		}
	}
	events := c.run(0, "events", "--job", id)
	if got.GetRestarts() != 0 || !strings.Contains(events, "gives way to") || !strings.Contains(events, "was before it in the queue") {
		t.Errorf("%d restarts:\n%s", got.GetRestarts(), events)
	}
}
