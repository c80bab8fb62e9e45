package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newUp prepares a folder for "tandem up": what is run in it finds its own contexts, and nothing of the user's.
func newUp(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-") // short: unix sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, contexts: filepath.Join(dir, "contexts.yaml")}
	t.Cleanup(func() {
		for _, pid := range mentioning(dir) {
			t.Errorf("process %d is left over", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone by now
		}
		_ = os.RemoveAll(dir)
	})
	return c
}

// up starts "tandem up" with these arguments.
func (c *cluster) up(args ...string) *process {
	c.t.Helper()
	p := &process{t: c.t, name: "up", log: filepath.Join(c.dir, "up.log"), args: append([]string{"up"}, args...)}
	p.env = []string{"TANDEM_CONFIG=" + c.contexts, "TMPDIR=" + c.dir}
	p.start()
	c.t.Cleanup(func() {
		p.stop()
		if c.t.Failed() {
			c.t.Logf("what up said:\n%s", p.tail())
		}
	})
	return p
}

// ended waits for the end of a process and returns its exit code.
func (p *process) ended(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
		p.done <- nil
	case <-time.After(within):
		p.t.Fatalf("%s did not end within %v", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// mentioning lists the processes that have to do with a folder: it is in their command line, or they work in it.
func mentioning(dir string) []int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	var found []int
	for _, line := range lines {
		text, _ := os.ReadFile(line) // an error: it ended meanwhile
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(line), "cwd"))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(line)))
		if err == nil && (strings.Contains(string(text), dir) || cwd == dir || strings.HasPrefix(cwd, dir+"/")) {
			found = append(found, pid)
		}
	}
	return found
}

// TestDemo runs the demo as a stranger does, who then has seen a prediction and has nothing left of it.
func TestDemo(t *testing.T) {
	c := newUp(t)
	begun := time.Now()
	demo := c.up("--demo", "--demo-dir", filepath.Join(programs.repository, "examples", "digits"))
	code := demo.ended(4 * time.Minute)
	t.Logf("the demo took %v", time.Since(begun).Round(time.Second/10))
	said := demo.tail()
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{`curl --cacert .* https://127\.0\.0\.1:\d+/v2/models/digits/infer`, `Prediction: \d with probability`, `Everything was stopped and removed`} {
		if !regexp.MustCompile(`(?s)` + want).MatchString(said) {
			t.Errorf("%q is not in what it said", want)
		}
	}
	found := regexp.MustCompile(`Accuracy on the \d+ images of the test split: (\S+)`).FindStringSubmatch(said)
	if found == nil {
		t.Fatal("it does not say how accurate the model is")
	}
	if accuracy, err := strconv.ParseFloat(found[1], 64); err != nil || accuracy < 0.97 {
		t.Errorf("accuracy %s, want at least 0.97", found[1])
	}
	if left := mentioning(c.dir); len(left) > 0 {
		t.Errorf("the demo left processes %v", left)
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, "tandem-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v, %v", left, err)
	}
}

// TestUpAgain stops "tandem up" with Ctrl-C and starts it again on its folder, which has its jobs and data and the same
// address as before; then kills it with -9, which takes all its processes along, and starts it once more.
func TestUpAgain(t *testing.T) {
	c := newUp(t)
	data := filepath.Join(c.dir, "data")
	isUp := func(p *process, times int) {
		t.Helper()
		eventually(t, 30*time.Second, "the cluster is up", func() bool {
			return strings.Count(p.tail(), "The cluster is up") == times
		})
	}
	up := c.up("--data-dir", data, "--listen", "127.0.0.1:0", "--workers", "1", "--slots", "2", "--context-name", "test")
	isUp(up, 1)
	c.digits()
	small := c.submit(c.spec("small", strings.Replace(longMLP("small", 20), "512, 512", "8", 1)), "--wait")
	if err := up.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := up.ended(20 * time.Second); code != 0 {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
	if left := mentioning(c.dir); len(left) > 0 {
		t.Errorf("Ctrl-C left processes %v", left)
	}

	up.args = []string{"up", "--data-dir", data, "--workers", "1", "--slots", "2", "--context-name", "test"}
	up.start()
	isUp(up, 2)
	c.connect()
	if j, _, err := job(t.Context(), c.api, small); err != nil || j.GetState().String() != "JOB_STATE_COMPLETED" {
		t.Errorf("the job that was done: %v, %v", j, err)
	}
	if list := c.run(0, "dataset", "list"); !strings.Contains(list, "digits") {
		t.Errorf("the dataset is gone: %s", list)
	}
	long := c.submit(c.spec("long", longMLP("long", 1500)))
	eventually(t, time.Minute, "the job trains", func() bool {
		_, trial, err := job(t.Context(), c.api, long)
		return err == nil && trial.GetLatestCheckpointId() != ""
	})
	if len(under(c.dir)) != 2 {
		t.Errorf("%d engines, want 2", len(under(c.dir)))
	}
	c.hidesSecrets(c.secrets(c.upStoreSecret(data), c.api.Context.Token), "up", "store", "coordinator", "worker", filepath.Base(programs.engine))
	up.kill()
	eventually(t, 5*time.Second, "nothing outlives up", func() bool { return len(mentioning(c.dir)) == 0 })

	up.start()
	isUp(up, 3)
	c.connect()
	c.completed(long, time.Minute)
}

// TestUpCannot: what is wrong with the machine is said with what to do about it, and nothing is left running.
func TestUpCannot(t *testing.T) {
	c := newUp(t)
	full := filepath.Join(c.dir, "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	type attempt struct {
		name string
		args []string
		code int
		says string
	}
	attempts := []attempt{
		{"no engine", []string{"--data-dir", filepath.Join(c.dir, "data"), "--engine", filepath.Join(c.dir, "none")}, 11, "make build"},
	}
	// A disk that the coordinator's log does not fit on; only root can make one.
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=40k"); err != nil {
		t.Logf("no small disk: %v", err)
	} else {
		defer func() {
			if err := syscall.Unmount(full, 0); err != nil {
				t.Errorf("unmount: %v", err)
			}
		}()
		data := filepath.Join(full, "data")
		attempts = append(attempts, attempt{"full disk", []string{"--data-dir", data}, 10, "the disk of " + data + " is full"})
	}
	for _, up := range attempts {
		c.runAny(append([]string{"up", "--listen", "127.0.0.1:0"}, up.args...)...)
		if c.code != up.code || !strings.Contains(c.stderr, up.says) {
			t.Errorf("%s: exit code %d, want %d; it says %q, want %q", up.name, c.code, up.code, c.stderr, up.says)
		}
		if left := mentioning(c.dir); len(left) > 0 {
			t.Errorf("%s: processes %v are left", up.name, left)
		}
	}
}
