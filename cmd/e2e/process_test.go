package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one program of a cluster. Its log is in a file, which a failed test prints the end of.
type process struct {
	t    *testing.T
	name string
	log  string
	args []string
	env  []string
	host *host // it runs on; nil: this one
	cmd  *exec.Cmd
	// program is the binary; empty: programs.tandem.
	program string
	done    chan error
}

// start starts the tandem binary; the same process may be started again after it ended.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatalf("open the log of %s: %v", p.name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(cmp.Or(p.program, programs.tandem), p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.host.start(p.cmd); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	p.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(p.cmd, p.done)
}

// kill ends it with -9 and waits until it is gone.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("kill %s: %v", p.name, err)
	}
	<-p.done
	p.done <- nil
}

// stop ends it as an operator would and fails the test when that takes too long.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.t.Errorf("%s did not end within 20 s of SIGTERM", p.name)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.done <- nil
}

// tail is the end of its log.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 6000
	return string(text[max(0, len(text)-most):])
}

// engine is a running tandem-engine of an agent.
type engine struct {
	pid  int
	args []string
}

// under lists the engines that work in a folder: those of the agents whose data is there.
func under(dir string) []engine {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is right
	var found []engine
	for _, link := range links {
		process := filepath.Dir(link)
		cwd, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(cwd, dir+"/") {
			continue // ended meanwhile, or another's
		}
		text, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || len(text) == 0 {
			continue // ended meanwhile
		}
		args := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		pid, err := strconv.Atoi(filepath.Base(process))
		if err == nil && filepath.Base(args[0]) == filepath.Base(programs.engine) {
			found = append(found, engine{pid, args})
		}
	}
	return found
}

// eventually waits until a condition holds; it is asked 20 times a second.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, within)
		case <-tick.C:
		}
	}
}

// run runs the CLI to its end and returns what it wrote to standard output; the exit code must be as wanted.
func (c *cluster) run(code int, args ...string) string {
	c.t.Helper()
	out := c.runAny(args...)
	if c.code != code {
		c.t.Fatalf("tandem %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), c.code, code, out, c.stderr)
	}
	return out
}

// runAny is run with any exit code, which is left in c.code.
func (c *cluster) runAny(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, programs.tandem, args...)
	cmd.Env = append(os.Environ(), "TANDEM_CONFIG="+c.contexts)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("tandem %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	c.code, c.stderr = cmd.ProcessState.ExitCode(), errs.String()
	return out.String()
}

func nameOf(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i+1) }
