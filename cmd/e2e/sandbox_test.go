package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/worker/sandbox"
	"tandem.dev/worker/sandbox/sandboxtest"
)

// TestSandbox: engines of training and serving are confined as promised, ranks of one host share memory all the same, and an engine that a model
// has taken over gets nowhere, whether it trains, publishes or serves.
func TestSandbox(t *testing.T) {
	left, err := unix.Open(leftOpen, unix.O_RDONLY, 0) // as a shell may leave it to what it starts
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(left)
	c := newCluster(t, 1, 1, 2)
	c.digits()
	id := c.submit(c.spec("confined", longMLP("confined", 600)+"publish: {model: confined}\n"))
	eventually(t, 30*time.Second, "both ranks run", func() bool { return len(under(c.workerDir(0))) == 2 })
	c.confined()
	secrets := c.secrets(storeSecret, c.api.Context.Token)
	c.hidesSecrets(secrets, "coordinator", "worker", filepath.Base(programs.engine))
	eventually(t, 30*time.Second, "the ranks share memory", func() bool { return strings.Contains(c.engineLog(0), "shared memory") })
	c.keyless(0)
	c.completed(id, 2*time.Minute)
	kept, err := c.api.Checkpoints.ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: id}))
	if err != nil {
		t.Fatal(err)
	}
	c.run(0, "serve", "confined@1", "--replicas", "1")
	eventually(t, 30*time.Second, "the replica runs", func() bool { return strings.Contains(c.engineLog(0), "replica is ready") })
	c.confined()
	c.hidesSecrets(secrets, filepath.Base(programs.engine))
	c.keyless(0)
	c.run(0, "serve", "stop", "confined", "-y")
	eventually(t, 30*time.Second, "the replica is gone", func() bool { return len(under(c.workerDir(0))) == 0 })

	others := c.others()
	c.goHostile(0, others)
	c.finished(c.submit(c.spec("hostile", longMLP("hostile", 10))), time.Minute)
	c.runAny("model", "publish", kept.Msg.GetCheckpoints()[0].GetId(), "--name", "hostile")
	c.runAny("serve", "confined@1", "--replicas", "1", "--no-wait")
	for kind, may := range map[string][]string{
		"train":   append(slices.Clone(sandboxtest.Harmless), "call a port", "listen", readOwn), // to meet the other ranks
		"publish": append(slices.Clone(sandboxtest.Harmless), readOwn), "serve": append(slices.Clone(sandboxtest.Harmless), readOwn),
	} {
		eventually(t, 30*time.Second, "a hostile engine has tried to "+kind, func() bool { return len(c.hostile(kind)) > 0 })
		for _, able := range c.hostile(kind) {
			if d := cmp.Diff(may, able); d != "" {
				t.Errorf("%s: a hostile engine was able to do more or less than it may: %s", kind, d)
			}
		}
	}
	for _, key := range others {
		if b, err := storage.ReadAll(t.Context(), c.store, key, storage.MaxCommit); err != nil || string(b) != key {
			t.Errorf("%s was changed: %q, %v", key, b, err)
		}
	}
}

// others puts objects into the store that no engine of the test needs, and returns their keys, which are what they hold.
func (c *cluster) others() []string {
	c.t.Helper()
	keys := []string{
		"trials/trial-other/ckpt/000000000001-g1/manifest.json", "trials/trial-other/logs/1.jsonl", "trials/trial-other/metrics/steps/1",
		"datasets/data-other/manifest.json", "models/ver-other/model.pt", "artifacts/" + strings.Repeat("0", 64), "audit/coordinator-1/1",
	}
	for _, key := range keys {
		if err := c.store.Put(c.t.Context(), key, strings.NewReader(key), int64(len(key))); err != nil {
			c.t.Fatal(err)
		}
	}
	return keys
}

// leftOpen is a file that is open in whatever starts a cluster.
const leftOpen = "/etc/passwd"

// inherits says whether a process has leftOpen open. Who may not look at it cannot tell.
func inherits(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, _ := os.ReadDir(dir)
	return slices.ContainsFunc(open, func(e os.DirEntry) bool {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		return err == nil && to == leftOpen
	})
}

// confined checks what /proc tells of the engines that run, and of the node in the words of the cluster.
func (c *cluster) confined() {
	c.t.Helper()
	node := c.node("worker-1")
	for _, e := range under(c.dir) {
		var s sandbox.Status
		eventually(c.t, 30*time.Second, "an engine has given up system calls", func() bool {
			var err error
			s, err = sandbox.ReadStatus(e.pid)
			return err != nil || s.Seccomp
		})
		if os.Geteuid() == 0 && s.User != 65534 {
			c.t.Errorf("engine %d runs as user %d", e.pid, s.User)
		}
		if s.Capabilities != 0 || s.Permitted != 0 || !s.NoNewPrivs || !s.Seccomp {
			c.t.Errorf("engine %d: %+v", e.pid, s)
		}
		if inherits(e.pid) {
			c.t.Errorf("engine %d has a file that was open in what started its agent", e.pid)
		}
	}
	want := []tandemv1.SandboxPart{
		tandemv1.SandboxPart_SANDBOX_PART_USER, tandemv1.SandboxPart_SANDBOX_PART_FILES, tandemv1.SandboxPart_SANDBOX_PART_PORTS,
		tandemv1.SandboxPart_SANDBOX_PART_SIGNALS, tandemv1.SandboxPart_SANDBOX_PART_CALLS,
	}
	if os.Geteuid() != 0 {
		want = want[1:]
	}
	if !slices.Equal(node.GetSandbox(), want) {
		c.t.Errorf("the node says that it has %v, want %v", node.GetSandbox(), want)
	}
}

// goHostile starts a worker again with an engine that is hostile, and goes for these objects.
func (c *cluster) goHostile(i int, others []string) {
	c.t.Helper()
	dir, err := os.MkdirTemp("", "prey-")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := sandboxtest.Prey{
		Descriptors: 8192,
		Secret:      filepath.Join(dir, "secret"), Open: filepath.Join(dir, "open"), Folder: filepath.Join(dir, "folder"), Abstract: filepath.Base(dir),
		Private: []string{
			filepath.Join(c.workerDir(i), "pki", "node-key.pem"), filepath.Join(c.dir, "coordinator-1", "pki", "ca-key.pem"),
			filepath.Join(c.dir, "coordinator-1", "pki", "admin-token"), c.contexts,
		},
	}
	for _, path := range p.Private {
		if _, err := os.Stat(path); err != nil {
			c.t.Fatalf("what should be out of reach does not exist: %v", err)
		}
	}
	for path, mode := range map[string]os.FileMode{p.Secret: 0o644, p.Open: 0o666} {
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, err := range []error{os.Mkdir(p.Folder, 0o777), os.Chmod(p.Folder, 0o777), os.Chmod(p.Open, 0o666), os.Chmod(dir, 0o755)} {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", "@"+p.Abstract)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = l.Close() })
	port := func(address string) int {
		_, text, _ := net.SplitHostPort(address)
		n, err := strconv.Atoi(text)
		if err != nil {
			c.t.Fatal(err)
		}
		return n
	}
	p.Ports = []int{port(c.storeAddress), port(c.addresses[0])}
	what, err := json.Marshal(target{Prey: p, Engine: "alloc-other/0", Shard: "datasets/data-other/shard-00000.arrow", Objects: others})
	if err != nil {
		c.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	w := c.workers[i]
	w.stop()
	w.args[slices.Index(w.args, "--engine")+1] = self
	w.args = append(w.args, "--engine-env", hostileVariable+"="+string(what), "--engine-memory-mib", "4096")
	w.start()
	eventually(c.t, 20*time.Second, "the worker is back", func() bool { return c.alive() == len(c.workers) })
}

// engineLog is the local file of what the engines of a worker wrote.
func (c *cluster) engineLog(i int) string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.workerDir(i), "logs", "engines.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// hostile lists what each hostile engine of a kind was able to do.
func (c *cluster) hostile(kind string) (all [][]string) {
	for line := range strings.Lines(c.engineLog(0)) {
		var l struct {
			Line string `json:"line"`
		}
		if json.Unmarshal([]byte(line), &l) != nil {
			continue
		}
		text, ok := strings.CutPrefix(l.Line, hostileMark+kind+" ")
		if !ok {
			continue
		}
		var able []string
		if err := json.Unmarshal([]byte(text), &able); err != nil {
			c.t.Fatalf("%v: %s", err, text)
		}
		all = append(all, able)
	}
	return all
}
