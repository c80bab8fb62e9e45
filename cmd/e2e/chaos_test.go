package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/data"
	"tandem.dev/worker/fault"
)

const (
	// chaosSize is the variable that makes the test longer: how many faults.
	chaosSize = "TANDEM_CHAOS"
	// chaosSeed chooses other faults.
	chaosSeed = "TANDEM_CHAOS_SEED"
	// chaosGap is how many steps lie between two faults.
	chaosGap = 60

	digitsRows, chaosBatch = 1437, 96
)

// chaosJob is a training with everything that has state or randomness.
func chaosJob(name string, steps int) string {
	return fmt.Sprintf(`
name: %s
dataset: digits
model: {cnn: {channels: [8], hidden: [32], dropout: 0.2, norm: group}}
training:
  batch: %d
  steps: %d
  optimizer: {name: adamw, lr: 0.003}
  schedule: {name: cosine, warmup_steps: 20}
  clip_norm: 1
  seed: 11
resources: {workers: 2}
max_restarts: 1000
evaluate: {every_steps: 90}
checkpoint: {every_steps: 45}
`, name, chaosBatch, steps)
}

// TestChaos breaks processes at random places while they train: they are killed or stopped at named points of a step, and
// stopped and continued from outside, while nodes are drained and come back. Each time the world size comes back, and the end is that of an undisturbed
// training, bit for bit; every row was used once. TANDEM_CHAOS=200 is the long form (make chaos).
func TestChaos(t *testing.T) {
	faults, seed := 9, uint64(1)
	if text := os.Getenv(chaosSize); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s is %q, not a number of faults", chaosSize, text)
		}
		faults = n
	}
	if text := os.Getenv(chaosSeed); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q, not a number", chaosSeed, text)
		}
		seed = n
	}
	random := rand.New(rand.NewPCG(seed, 0))
	shm := sharedMemory(t)
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ledger := filepath.Join(dir, "ledger")
	if err := errors.Join(os.Mkdir(ledger, 0o700), os.Chmod(ledger, 0o777), os.Chmod(dir, 0o777)); err != nil { // for engines, which run as another user
		t.Fatal(err)
	}
	// Some processes end before their fault comes: those that all others have left, are taken for lost, or are on nodes that are drained.
	planted := faults * 2
	steps := chaosGap * (planted + 3)

	c := newClusterWith(t, 1, 3, 1, fault.Variable+"=@"+dir, "TANDEM_LEDGER="+ledger)
	c.digits()
	path := c.spec("chaos", chaosJob("chaos", steps))
	_, want := c.completed(c.submit(path), 5*time.Minute)
	if want.GetGeneration() != 1 {
		t.Fatalf("the undisturbed training took %d generations", want.GetGeneration())
	}

	before := c.held()
	kinds := plantFaults(t, dir, random, planted)
	if os.Getenv(chaosSize) != "" { // in the long form strangers attack the coordinator all the while
		defer c.attack(c.attackers(0, 60))()
	}
	id := c.submit(path)
	stops, drains := c.stopAndContinue(seed), c.drainAndReturn(seed)
	_, got := c.completed(id, time.Duration(planted)*20*time.Second+2*time.Minute)

	fired, err := filepath.Glob(filepath.Join(dir, "*"+fault.Fired))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %d faults planted, %d of them fired, %v; %d times stopped and continued, %d nodes drained; %d generations, %d restarts",
		seed, planted, len(fired), kinds, stops(), drains(), got.GetGeneration(), got.GetRestarts())
	if len(fired) < faults {
		t.Errorf("only %d faults fired, want %d", len(fired), faults)
	}
	sameEvaluations(t, want, got)
	sameWeights(t, c.weights(want), c.weights(got))
	checkLedger(t, filepath.Join(ledger, got.GetId()+"-*.jsonl"), steps)
	eventually(t, 30*time.Second, "the agents hold no more goroutines and files than before", func() bool {
		for name, n := range c.held() {
			if n > before[name]+10 { // connections come and go
				return false
			}
		}
		return true
	})
	if now := sharedMemory(t); !slices.Equal(now, shm) {
		t.Errorf("/dev/shm has %v, before the test %v", now, shm)
	}
}

// plantFaults writes one file for each fault, which one process each will take.
func plantFaults(t *testing.T, dir string, random *rand.Rand, n int) map[string]int {
	t.Helper()
	steady := []string{"data", "forward", "backward", "reduce", "reduce", "agreed", "applied", "upload"}
	kinds := map[string]int{}
	for i := range n {
		point, action := steady[random.IntN(len(steady))], fault.Kill
		if i%3 == 2 && random.IntN(2) == 0 {
			// These come to pass when another rank has died: two processes that wait for each other to die would live for ever.
			point = []string{"sync", "join"}[random.IntN(2)]
		}
		if random.IntN(8) == 0 {
			action = fault.Stop
		}
		kinds[point+" "+action]++
		text := fmt.Sprintf("%s:%d:%s", point, chaosGap*(i+1)+random.IntN(chaosGap/2), action)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.fault", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return kinds
}

// stopAndContinue stops a random engine for a moment, now and then; that is not a fault.
func (c *cluster) stopAndContinue(seed uint64) (times func() int) {
	random := rand.New(rand.NewPCG(seed, 1))
	return c.meanwhile(3*time.Second, func(pause func(time.Duration)) bool {
		engines := under(c.dir)
		if len(engines) == 0 {
			return false
		}
		pid := engines[random.IntN(len(engines))].pid
		if stopped(pid) || syscall.Kill(pid, syscall.SIGSTOP) != nil {
			return false // it is gone, or a planted fault has stopped it, which must stay so
		}
		pause(200 * time.Millisecond)
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may be gone meanwhile
		return true
	})
}

// drainAndReturn drains a random node, now and then, and takes it back before all may have gone elsewhere.
func (c *cluster) drainAndReturn(seed uint64) (times func() int) {
	random := rand.New(rand.NewPCG(seed, 2))
	cordon := func(node string, on bool) bool {
		_, err := c.api.Nodes.CordonNode(context.Background(),
			connect.NewRequest(&tandemv1.CordonNodeRequest{Id: node, Cordoned: on, Drain: on}))
		if err != nil {
			c.t.Errorf("drain or uncordon %s: %v", node, err)
		}
		return err == nil
	}
	return c.meanwhile(7*time.Second, func(pause func(time.Duration)) bool {
		node := nameOf("worker", random.IntN(len(c.workers)))
		if !cordon(node, true) {
			return false
		}
		pause(time.Duration(random.IntN(4000)) * time.Millisecond)
		return cordon(node, false)
	})
}

// meanwhile does something from time to time until the function that it returns is called, which says how often it was done. The pauses
// in it end then too.
func (c *cluster) meanwhile(every time.Duration, act func(pause func(time.Duration)) bool) (times func() int) {
	c.t.Helper()
	done, n := make(chan struct{}), 0
	ended := make(chan struct{})
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-done:
		}
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if act(pause) {
				n++
			}
		}
	}()
	stop := func() int {
		select {
		case <-done:
		default:
			close(done)
		}
		<-ended
		return n
	}
	c.t.Cleanup(func() { stop() })
	return stop
}

// stopped tells whether a process is stopped by a signal.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	return err == nil && i >= 0 && bytes.HasPrefix(stat[i+1:], []byte(" T"))
}

// weights are the tensors of a trial's last checkpoint.
func (c *cluster) weights(trial *tandemv1.Trial) []safetensors.Tensor {
	c.t.Helper()
	res, err := c.api.Checkpoints.GetCheckpoint(c.t.Context(),
		connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: trial.GetLatestCheckpointId()}))
	if err != nil {
		c.t.Fatal(err)
	}
	_, tensors, err := ckpt.Load(c.t.Context(), c.store, res.Msg.GetCheckpoint().GetPrefix(), ckpt.Expect{})
	if err != nil {
		c.t.Fatal(err)
	}
	return tensors
}

func sameWeights(t *testing.T, want, got []safetensors.Tensor) {
	t.Helper()
	if len(want) != len(got) || len(want) < 4 {
		t.Fatalf("%d tensors, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i].Name != got[i].Name || !bytes.Equal(want[i].Data, got[i].Data) {
			t.Errorf("%s is not that of the undisturbed training", want[i].Name)
		}
	}
}

// used is one line of an engine's ledger: the rows that one rank brought to a step which it then applied.
type used struct {
	Generation int64   `json:"gen"`
	Step       int64   `json:"step"`
	Rank       int     `json:"rank"`
	World      int     `json:"world"`
	Rows       []int32 `json:"rows"`
	At         int64   `json:"at"` // Unix nanoseconds
}

// readLedger returns all lines of the ledgers that a pattern names; the last of a file may be half written.
func readLedger(t *testing.T, pattern string) (all []used) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var u used
			if !bytes.HasSuffix(line, []byte("\n")) {
				continue
			}
			if err := json.Unmarshal(line, &u); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, u)
		}
	}
	return all
}

// checkLedger proves from what the engines wrote down that in the last generation that applied a step each rank brought
// its own share of the step's batch, so that every row was used once.
func checkLedger(t *testing.T, pattern string, steps int) {
	t.Helper()
	byStep := map[int64][]used{}
	for _, u := range readLedger(t, pattern) {
		byStep[u.Step] = append(byStep[u.Step], u)
	}
	order, err := data.NewOrder(digitsRows, chaosBatch, 11)
	if err != nil {
		t.Fatal(err)
	}
	var at data.Cursor
	for step := int64(1); step <= int64(steps); step++ {
		batch, next, err := order.At(at)
		if err != nil {
			t.Fatal(err)
		}
		at = next
		lines := byStep[step]
		if len(lines) == 0 {
			t.Fatalf("step %d was never applied", step)
		}
		last := slices.MaxFunc(lines, func(a, b used) int { return int(a.Generation - b.Generation) })
		seen := map[int]bool{}
		for _, u := range lines {
			if u.Generation != last.Generation {
				continue
			}
			lo, hi := data.Share(len(batch), u.Rank, u.World)
			if u.World != last.World || seen[u.Rank] || !slices.Equal(u.Rows, batch[lo:hi]) {
				t.Fatalf("step %d: rank %d of %d used %d rows that are not its own", step, u.Rank, u.World, len(u.Rows))
			}
			seen[u.Rank] = true
		}
	}
}

// held is what the agents hold: goroutines and open files.
func (c *cluster) held() map[string]int64 {
	c.t.Helper()
	h, urls := c.agentClient()
	defer h.CloseIdleConnections()
	all := map[string]int64{}
	for _, url := range urls {
		for _, name := range []string{"go_goroutines", "process_open_fds"} {
			if all[url+name] = readMetric(c.t.Context(), h, url, name); all[url+name] == 0 {
				c.t.Fatalf("%s does not say %s", url, name)
			}
		}
	}
	return all
}

func sharedMemory(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("/dev/shm")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
