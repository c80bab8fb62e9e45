package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Of all rows all features are one: so the gradients of the weights of each unit of the first layer are the same number, 64 times.
const (
	hostsJob = `
name: hosts
dataset: ones
model: {mlp: {hidden: [256, 256]}}
training: {batch: 64, steps: 100, optimizer: {name: sgd, lr: 0.01}, seed: 7}
resources: {workers: 2, min: 1}
max_restarts: 0
evaluate: {every_steps: 100}
`
	features = 64
)

// TestDataPlane trains on two real hosts and reads the cable between them.
//
//  1. As it is by default: no gradient is to be seen, and a firewall that opens the ports of the agents alone is enough.
//  2. One of the two with --plain-data-plane: the job fails and says what to do.
//  3. Both with it: the gradients are there to read, which shows that the reader can.
//  4. Both with it behind that firewall: the job goes on with one of them, and an event says which ports to open.
func TestDataPlane(t *testing.T) {
	if !insideNetwork() {
		runInside(t)
		return
	}
	on := newNetwork(t, 2)
	ledger := ledgerFolder(t)
	c := newClusterOn(t, on, 1, len(on.hosts), 1, "TANDEM_LEDGER="+ledger)
	c.ones()
	path, both := c.spec("hosts", hostsJob), c.spec("both", strings.Replace(hostsJob, "min: 1", "min: 2", 1))
	filter := func() error {
		return errors.Join(on.hosts[0].filter(on.hosts[1]), on.hosts[1].filter(on.hosts[0]))
	}
	// train returns the events of a job that is over, and what passed over the cable meanwhile.
	train := func(path string, want tandemv1.JobState) (events string, seen []byte) {
		read := on.hosts[0].tap(t, on.hosts[1])
		id := c.submit(path)
		j, trial := c.finished(id, time.Minute)
		events, seen = c.run(0, "events", "--job", id), read()
		if j.GetState() != want {
			t.Fatalf("%v, want %v: %s\n%s", j.GetState(), want, j.GetReason(), events)
		}
		t.Logf("%v: %.0f steps/s on both, %d bytes over the cable", j.GetState(),
			stepRate(readLedger(t, filepath.Join(ledger, trial.GetId()+"-*.jsonl"))), len(seen))
		return events, seen
	}
	const onBoth = "2 ranks (generation 1)"

	if err := filter(); err != nil {
		t.Skipf("the kernel does not let this user filter ports: %v", err)
	}
	events, seen := train(path, tandemv1.JobState_JOB_STATE_COMPLETED)
	if !strings.Contains(events, onBoth) || strings.Contains(events, "reach each other") {
		t.Errorf("behind a firewall that opens the agents' ports alone:\n%s", events)
	}
	if least := 100 * 4 * (features + 256) * 256; len(seen) < least {
		t.Errorf("%d bytes passed over the cable; the gradients alone are %d", len(seen), least)
	}
	if at := runOf(seen, features); at >= 0 {
		t.Errorf("the cable shows a gradient: % x", seen[at:at+16])
	}
	if err := errors.Join(on.hosts[0].unfilter(), on.hosts[1].unfilter()); err != nil {
		t.Fatal(err)
	}

	c.restartWorker(0, "--plain-data-plane")
	if events, _ := train(both, tandemv1.JobState_JOB_STATE_FAILED); !strings.Contains(events,
		"start all workers with --plain-data-plane, or none") {
		t.Errorf("the nodes do not agree:\n%s", events)
	}

	c.restartWorker(1, "--plain-data-plane")
	events, seen = train(path, tandemv1.JobState_JOB_STATE_COMPLETED)
	if !strings.Contains(events, onBoth) {
		t.Errorf("in clear:\n%s", events)
	}
	if runOf(seen, features) < 0 {
		t.Errorf("no gradient is to be seen in %d bytes, though they are sent in clear", len(seen))
	}

	if err := filter(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	events, _ = train(path, tandemv1.JobState_JOB_STATE_COMPLETED)
	t.Logf("in clear behind the firewall: %v", time.Since(began).Round(time.Millisecond))
	if !strings.Contains(events, "1 rank (generation 2)") || !strings.Contains(events, "net.ipv4.ip_local_port_range") {
		t.Errorf("in clear behind the firewall:\n%s", events)
	}
}

// ones makes a dataset whose features are all one.
func (c *cluster) ones() {
	c.t.Helper()
	var text bytes.Buffer
	for row := range 400 {
		text.WriteString(strings.Repeat("1,", features) + []string{"no", "yes", "yes"}[row%3] + "\n")
	}
	file := filepath.Join(c.dir, "ones.csv")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.run(0, "dataset", "create", "ones", "--from", file, "--no-header", "--label", "c64", "--split", "80/10/10")
}

// restartWorker stops a worker and starts it again with more flags.
func (c *cluster) restartWorker(i int, flags ...string) {
	c.t.Helper()
	w := c.workers[i]
	w.stop()
	if err := w.host.pullOut(); err != nil {
		c.t.Fatal(err)
	}
	w.args = append(slices.Clone(w.args), flags...)
	was := c.node(w.name).GetIncarnation()
	w.start()
	eventually(c.t, 20*time.Second, w.name+" is back", func() bool { return c.node(w.name).GetIncarnation() > was && c.alive() == len(c.workers) })
}

// stepRate is how many steps a second two ranks did together.
func stepRate(lines []used) float64 {
	lines = slices.DeleteFunc(lines, func(u used) bool { return u.Rank != 0 || u.World != 2 })
	if len(lines) < 2 {
		return 0
	}
	at := func(a, b used) int { return cmp.Compare(a.At, b.At) }
	took := time.Duration(slices.MaxFunc(lines, at).At - slices.MinFunc(lines, at).At)
	return float64(len(lines)-1) / took.Seconds()
}

// runOf finds the same four bytes n times in a row, not all of them equal to each other; -1: nowhere.
func runOf(seen []byte, n int) int {
	same := 0 // bytes that are as those four before
	for i := 4; i < len(seen); i++ {
		if seen[i] != seen[i-4] {
			same = 0
			continue
		}
		if same++; same >= 4*(n-1) {
			word := seen[i-3 : i+1]
			if word[0] != word[1] || word[1] != word[2] || word[2] != word[3] {
				return i - 4*n + 1
			}
		}
	}
	return -1
}
