package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestLeaderDies kills the leader with -9 in the middle of training: steps go on, the job ends as if nothing had been,
// nothing acknowledged is lost, and the killed coordinator comes back and catches up.
func TestLeaderDies(t *testing.T) {
	ledger := ledgerFolder(t)
	c := newClusterWith(t, 3, 2, 1, "TANDEM_LEDGER="+ledger)
	c.digits()
	path := c.spec("long", longMLP("long", 6000))
	leader := c.leader()
	follower := c.at((leader + 1) % 3)
	submitted, err := follower.Jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{
		Spec: specOf(t, path), RequestId: "long-1",
	}))
	if err != nil {
		t.Fatalf("submit to a follower: %v", err)
	}
	id := submitted.Msg.GetJob().GetId()
	steps := c.watchSteps()
	eventually(t, 30*time.Second, "training is under way", func() bool { return steps.last() > 100 })

	c.coordinators[leader].kill()
	killed, killedAt := steps.last(), time.Now()
	eventually(t, 20*time.Second, "another coordinator leads", func() bool { l := c.leader(); return l >= 0 && l != leader })
	ledAt := time.Now()
	acknowledged := c.submit(c.spec("second", longMLP("second", 100))) // behind the first, on the new leader
	eventually(t, 30*time.Second, "steps are reported after the election", func() bool { return steps.last() > killed+200 })
	c.coordinators[leader].start()
	eventually(t, 20*time.Second, "the killed coordinator has caught up", func() bool {
		_, _, err := job(t.Context(), c.at(leader), acknowledged)
		return err == nil
	})

	_, trial := c.completed(id, 3*time.Minute)
	c.completed(acknowledged, time.Minute)
	lines := readLedger(t, filepath.Join(ledger, trial.GetId()+"-*.jsonl"))
	without, still := paceOf(lines, killedAt, ledAt)
	usual, _ := paceOf(lines, time.Unix(0, 0), killedAt)
	t.Logf("nobody led for %v: %.0f steps/s then, %.0f before; the longest time without a step %v",
		ledAt.Sub(killedAt).Round(time.Millisecond), without, usual, still.Round(time.Millisecond))
	if without < usual/4 || still > ledAt.Sub(killedAt)/2 {
		t.Errorf("the training stood still while nobody led")
	}
	if trial.GetRestarts() != 0 || trial.GetGeneration() != 1 {
		t.Errorf("the trial was disturbed: %d restarts, generation %d", trial.GetRestarts(), trial.GetGeneration())
	}
	again, err := c.api.Jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{
		Spec: specOf(t, path), RequestId: "long-1",
	}))
	if err != nil || again.Msg.GetJob().GetId() != id {
		t.Errorf("the same request gave %v, %v; want job %s", again, err, id)
	}
}

// paceOf returns the steps a second that were done from one time to another, and the longest time without one.
func paceOf(lines []used, from, to time.Time) (pace float64, still time.Duration) {
	var at []int64
	for _, u := range lines {
		if u.Rank == 0 && u.At >= from.UnixNano() && u.At < to.UnixNano() {
			at = append(at, u.At)
		}
	}
	if len(at) == 0 {
		return 0, to.Sub(from)
	}
	slices.Sort(at)
	first := max(from.UnixNano(), at[0]) // before the first there may have been no training
	pace = float64(len(at)) / time.Duration(to.UnixNano()-first).Seconds()
	last := first
	for _, t := range append(at, to.UnixNano()) {
		still, last = max(still, time.Duration(t-last)), t
	}
	return pace, still
}

// TestLeaderAndRankDie kills the leader and a rank at the same moment: once another coordinator leads, the rank that is left goes on,
// then a replacement takes its state, and no step is lost.
func TestLeaderAndRankDie(t *testing.T) {
	ledger := ledgerFolder(t)
	c := newClusterWith(t, 3, 2, 1, "TANDEM_LEDGER="+ledger)
	c.digits()
	id := c.submit(c.spec("run", strings.Replace(longMLP("run", 6000), "workers: 2", "workers: 2, min: 1", 1)))
	steps := c.watchSteps()
	eventually(t, time.Minute, "training is under way", func() bool { return steps.last() > 100 })
	leader := c.leader()
	engines := under(c.workerDir(1))
	if len(engines) != 1 {
		t.Fatalf("the second worker has %d engines", len(engines))
	}
	c.coordinators[leader].kill()
	if err := syscall.Kill(engines[0].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killedAt := time.Now()
	eventually(t, 20*time.Second, "another coordinator leads", func() bool { l := c.leader(); return l >= 0 && l != leader })
	ledAt := time.Now()
	_, got := c.completed(id, 2*time.Minute)
	if got.GetRestarts() != 1 || got.GetGeneration() < 2 {
		t.Errorf("%d restarts, generation %d; want 1, and 2 or more", got.GetRestarts(), got.GetGeneration())
	}
	lines := readLedger(t, filepath.Join(ledger, got.GetId()+"-*.jsonl"))
	checkSteps(t, lines, got.GetTotalSteps())
	_, still := paceOf(lines, killedAt.Add(-100*time.Millisecond), ledAt.Add(30*time.Second))
	t.Logf("another coordinator led after %v; %v without a step", ledAt.Sub(killedAt).Round(time.Millisecond),
		still.Round(time.Millisecond))
	events := c.run(0, "events", "--job", id)
	if strings.Contains(events, "lost its ranks") {
		t.Errorf("it went back:\n%s", events)
	}
}

// TestRankDies kills one rank with -9: the job resumes from its last checkpoint by itself and ends with the result of a
// run that was not disturbed, bit for bit.
func TestRankDies(t *testing.T) {
	c := newCluster(t, 1, 2, 1)
	c.digits()
	path := c.spec("run", longMLP("run", 3000))
	undisturbed := c.submit(path)
	_, want := c.completed(undisturbed, 2*time.Minute)

	disturbed := c.submit(path)
	eventually(t, time.Minute, "a checkpoint is there", func() bool {
		_, trial, err := job(t.Context(), c.api, disturbed)
		return err == nil && trial.GetLatestCheckpointId() != ""
	})
	engines := under(c.workerDir(1))
	if len(engines) != 1 {
		t.Fatalf("the second worker has %d engines", len(engines))
	}
	if err := syscall.Kill(engines[0].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, got := c.completed(disturbed, 2*time.Minute)
	if got.GetRestarts() != 1 || got.GetGeneration() != 2 {
		t.Errorf("%d restarts, generation %d; want 1 and 2", got.GetRestarts(), got.GetGeneration())
	}
	sameEvaluations(t, want, got)
	events := c.run(0, "events", "--job", disturbed)
	if !strings.Contains(events, "killed") || !strings.Contains(events, "lost one of its ranks") || !strings.Contains(events,
		"generation 2") {
		t.Errorf("the events do not say what happened:\n%s", events)
	}
}

// TestAgentDies kills an agent with -9: its engine dies with it, the job waits, and goes on when the agent is back.
func TestAgentDies(t *testing.T) {
	c := newCluster(t, 1, 2, 1)
	c.digits()
	id := c.submit(c.spec("run", longMLP("run", 3000)))
	eventually(t, time.Minute, "a checkpoint is there", func() bool {
		_, trial, err := job(t.Context(), c.api, id)
		return err == nil && trial.GetLatestCheckpointId() != ""
	})
	c.workers[1].kill()
	eventually(t, 5*time.Second, "no engine outlives its agent", func() bool { return len(under(c.workerDir(1))) == 0 })
	c.workers[1].start()
	_, trial := c.completed(id, 2*time.Minute)
	if trial.GetGeneration() < 2 {
		t.Errorf("generation %d: the allocation was not made anew", trial.GetGeneration())
	}
	if trial.GetRestarts() != 0 {
		t.Errorf("%d restarts: a lost machine counts", trial.GetRestarts())
	}
}

// TestLoneRankHangs stops the only rank of a job, which no other waits for: its agent misses its signs of life, and it goes on from its
// last checkpoint.
func TestLoneRankHangs(t *testing.T) {
	c := newCluster(t, 1, 1, 1)
	c.digits()
	id := c.submit(c.spec("run", strings.Replace(longMLP("run", 3000), "workers: 2", "workers: 1", 1)))
	eventually(t, time.Minute, "a checkpoint is there", func() bool {
		_, trial, err := job(t.Context(), c.api, id)
		return err == nil && trial.GetLatestCheckpointId() != ""
	})
	engines := under(c.dir)
	if len(engines) != 1 {
		t.Fatalf("%d engines", len(engines))
	}
	if err := syscall.Kill(engines[0].pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, trial := c.completed(id, 2*time.Minute)
	if trial.GetRestarts() != 1 {
		t.Errorf("%d restarts, want 1", trial.GetRestarts())
	}
	if events := c.run(0, "events", "--job", id); !strings.Contains(events, "hangs") || !strings.Contains(events, "lost its ranks") {
		t.Errorf("the events do not say what happened:\n%s", events)
	}
}

// TestPauseResume pauses a job at a step boundary and resumes it on the way to the undisturbed result; then it is
// cancelled in another job, which gives its slots back.
func TestPauseResume(t *testing.T) {
	c := newCluster(t, 1, 1, 2)
	c.digits()
	path := c.spec("run", longMLP("run", 3000))
	_, want := c.completed(c.submit(path), 2*time.Minute)

	id := c.submit(path)
	eventually(t, time.Minute, "it trains", func() bool {
		_, trial, err := job(t.Context(), c.api, id)
		return err == nil && trial.GetLatestCheckpointId() != ""
	})
	c.run(0, "pause", id)
	eventually(t, 20*time.Second, "it is paused", func() bool {
		j, _, err := job(t.Context(), c.api, id)
		return err == nil && j.GetState() == tandemv1.JobState_JOB_STATE_PAUSED
	})
	if left := under(c.dir); len(left) != 0 {
		t.Errorf("a paused job has engines: %v", left)
	}
	c.run(0, "resume", id)
	_, got := c.completed(id, 2*time.Minute)
	sameEvaluations(t, want, got)

	other := c.submit(path)
	eventually(t, time.Minute, "it trains", func() bool { return len(under(c.dir)) == 2 })
	c.run(0, "cancel", "-y", other)
	eventually(t, 20*time.Second, "its engines are gone", func() bool { return len(under(c.dir)) == 0 })
}

// TestWorkerDiskFull: a worker whose disk is full says so, with its name and the folder, and gets no work until there is room; the job that
// waits for it loses no restart.
func TestWorkerDiskFull(t *testing.T) {
	c := newCluster(t, 1, 0, 0)
	c.digits()
	disk := c.workerDir(0)
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("the kernel does not let this user make a small disk: %v", err)
	}
	t.Cleanup(func() { // before the folder of the cluster goes
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	c.startWorker(0, 1)
	eventually(t, 20*time.Second, "the worker is alive", func() bool { return c.alive() == 1 })
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.Write(make([]byte, 96<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%v, want a full disk", err)
	}
	_ = f.Close()
	const says = "no space left on device"
	eventually(t, 20*time.Second, "an event tells of the disk", func() bool {
		events := c.run(0, "events", "--type", "node_disk_full")
		return strings.Contains(events, "worker-1") && strings.Contains(events, disk+" ("+says+")")
	})
	if node := c.run(0, "node", "describe", "worker-1"); !strings.Contains(node, "disk full") || !strings.Contains(node, disk+": "+says) {
		t.Errorf("the node does not say what is wrong:\n%s", node)
	}
	id := c.submit(c.spec("run", strings.Replace(longMLP("run", 20), "workers: 2", "workers: 1", 1)))
	if why := c.run(0, "describe", id); !strings.Contains(why, "faulty") {
		t.Errorf("the job does not say why it waits:\n%s", why)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, trial := c.completed(id, time.Minute); trial.GetRestarts() != 0 {
		t.Errorf("%d restarts, want none", trial.GetRestarts())
	}
	if events := c.run(0, "events", "--type", "node_disk_writable"); !strings.Contains(events, "worker-1") {
		t.Errorf("no event says that there is room again:\n%s", events)
	}
}
