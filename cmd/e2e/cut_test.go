package e2e

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const cutJob = `
name: cut
dataset: digits
model: {mlp: {hidden: [256, 256], dropout: 0.1}}
training: {batch: 96, steps: 1500, optimizer: {name: sgd, lr: 0.01, momentum: 0.9}, seed: 7}
resources: {workers: 2}
evaluate: {every_steps: 150}
checkpoint: {every_steps: 750}
`

// TestCutNetwork cuts cables between real hosts while a job trains on two of three. Nobody is told that a cable is cut: packets are
// lost, and connections stay open.
//
//  1. One of the two is cut off from everybody: the other goes on with the third. Then its cable comes back, and it ends its rank.
//  2. The two are cut from each other, and both reach everybody else: one of them goes on with the third.
//
// Both times no step is lost or done twice but the one in flight, and the end is that of an undisturbed training, bit for bit.
func TestCutNetwork(t *testing.T) {
	if !insideNetwork() {
		runInside(t)
		return
	}
	on := newNetwork(t, 3)
	ledger := ledgerFolder(t)
	c := newClusterOn(t, on, 1, len(on.hosts), 1, "TANDEM_LEDGER="+ledger)
	c.digits()
	path := c.spec("cut", cutJob)
	_, want := c.completed(c.submit(path), time.Minute)

	// train lets the job train, cuts cables in the middle, and returns the numbers of the two workers it began on.
	train := func(what string, cut func(first, second *host) error) (first, second int, events string) {
		id := c.submit(path)
		_, trial, err := job(t.Context(), c.api, id)
		if err != nil {
			t.Fatal(err)
		}
		lines := func() []used { return readLedger(t, filepath.Join(ledger, trial.GetId()+"-*.jsonl")) }
		eventually(t, 30*time.Second, "it trains", func() bool { return len(lines()) > 200 })
		var at []int
		for i := range c.workers {
			if len(under(c.workerDir(i))) > 0 {
				at = append(at, i)
			}
		}
		if len(at) != 2 {
			t.Fatalf("it trains on workers %v", at)
		}
		cutAt := time.Now()
		if err := cut(on.hosts[at[0]], on.hosts[at[1]]); err != nil {
			t.Fatal(err)
		}
		_, got := c.completed(id, 50*time.Second)
		sameEvaluations(t, want, got)
		sameWeights(t, c.weights(want), c.weights(got))
		checkSteps(t, lines(), got.GetTotalSteps())
		_, still := paceOf(lines(), cutAt.Add(-100*time.Millisecond), time.Now())
		t.Logf("%s: %v without a step; generation %d", what, still.Round(time.Millisecond), got.GetGeneration())
		if got.GetGeneration() < 2 || got.GetGeneration() > 4 {
			t.Errorf("%s: generation %d", what, got.GetGeneration())
		}
		events = c.run(0, "events", "--job", id)
		if strings.Contains(events, "did not answer") { // what it did is in its log
			t.Logf("%s: %s\n%s", what, events, c.run(0, "logs", id))
		}
		return at[0], at[1], events
	}

	_, off, events := train("cut off from all", func(_, second *host) error { return second.unplug() })
	if !strings.Contains(events, "did not answer") {
		t.Errorf("the events do not say what happened:\n%s", events)
	}
	if len(under(c.workerDir(off))) != 1 {
		t.Errorf("the rank that was cut off is gone, so nobody has to refuse it")
	}
	if err := on.hosts[off].replug(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the worker that was cut off is back, and its rank has ended", func() bool {
		return c.alive() == len(c.workers) && len(under(c.workerDir(off))) == 0
	})

	first, second, events := train("cut from each other", func(first, second *host) error {
		return errors.Join(first.cut(second), second.cut(first))
	})
	if !strings.Contains(events, "do not reach each other") {
		t.Errorf("the events do not say what happened:\n%s", events)
	}
	for _, i := range []int{first, second} {
		n := c.node(nameOf("worker", i))
		if n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
			t.Errorf("%s is %v, though it reaches the coordinator", n.GetName(), n.GetState())
		}
	}
}
