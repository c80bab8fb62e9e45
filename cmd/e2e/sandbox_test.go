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

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/sandbox"
	"tandem.dev/worker/sandbox/sandboxtest"
)

// TestSandbox: engines of training and serving are confined as promised, ranks of one host share memory all the same, and an engine that a model
// has taken over gets nowhere, whether it trains, publishes or serves.
func TestSandbox(t *testing.T) {
	c := newCluster(t, 1, 1, 2)
	c.digits()
	c.run(0, "dataset", "create", "tiny", "--from", c.tiny(), "--label", "label")
	id := c.submit(c.spec("confined", longMLP("confined", 600)+"publish: {model: confined}\n"))
	eventually(t, 30*time.Second, "both ranks run", func() bool { return len(under(c.workerDir(0))) == 2 })
	c.confined()
	secrets := c.secrets(storeSecret, c.api.Context.Token)
	c.hidesSecrets(secrets, "coordinator", "worker", filepath.Base(programs.engine))
	c.completed(id, 2*time.Minute)
	kept, err := c.api.Checkpoints.ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: id}))
	if err != nil {
		t.Fatal(err)
	}
	if log := c.engineLog(0); !strings.Contains(log, `\"transport\":\"shared memory\"`) && !strings.Contains(log, `"transport":"shared memory"`) {
		t.Errorf("the ranks did not share memory:\n%s", log)
	}
	c.run(0, "serve", "confined@1", "--replicas", "1")
	eventually(t, 30*time.Second, "the replica runs", func() bool { return len(under(c.workerDir(0))) == 1 })
	c.confined()
	c.hidesSecrets(secrets, filepath.Base(programs.engine))
	c.run(0, "serve", "stop", "confined", "-y")
	eventually(t, 30*time.Second, "the replica is gone", func() bool { return len(under(c.workerDir(0))) == 0 })

	c.goHostile(0)
	c.finished(c.submit(c.spec("hostile", longMLP("hostile", 10))), time.Minute)
	c.runAny("model", "publish", kept.Msg.GetCheckpoints()[0].GetId(), "--name", "hostile")
	c.runAny("serve", "confined@1", "--replicas", "1", "--no-wait")
	for kind, may := range map[string][]string{
		"train":   append(slices.Clone(sandboxtest.Harmless), "call another port", "listen"), // to meet the other ranks
		"publish": sandboxtest.Harmless, "serve": sandboxtest.Harmless,
	} {
		eventually(t, 30*time.Second, "a hostile engine has tried to "+kind, func() bool { return len(c.hostile(kind)) > 0 })
		for _, able := range c.hostile(kind) {
			if d := cmp.Diff(may, able); d != "" {
				t.Errorf("%s: a hostile engine was able to do more or less than it may: %s", kind, d)
			}
		}
	}
}

// tiny makes a file of few rows.
func (c *cluster) tiny() string {
	c.t.Helper()
	path := filepath.Join(c.dir, "tiny.csv")
	var b strings.Builder
	b.WriteString("a,label\n")
	for i := range 40 {
		fmt.Fprintf(&b, "%d,%d\n", i, i%2)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
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

// goHostile starts a worker again with an engine that is hostile.
func (c *cluster) goHostile(i int) {
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
	p.Port, p.Other = port(c.storeAddress), port(c.addresses[0])
	what, err := json.Marshal(target{Prey: p, Engine: "alloc-other/0", Shard: "datasets/other/1/shard-00000.arrow"})
	if err != nil {
		c.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	w := c.workers[i]
	w.stop()
	w.args = append(w.args, "--engine", self, "--engine-env", hostileVariable+"="+string(what), "--engine-memory-mib", "4096")
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
			c.t.Fatal(err)
		}
		all = append(all, able)
	}
	return all
}
