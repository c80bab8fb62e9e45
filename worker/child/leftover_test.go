package child

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestKillLeftoverSparesOthers: a pid that now belongs to another process is left alone.
func TestKillLeftoverSparesOthers(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	right := Identify(cmd.Process.Pid)
	for name, change := range map[string]func(*Process){
		"other start":   func(e *Process) { e.StartTicks++ },
		"other program": func(e *Process) { e.Exe = "/usr/bin/other" },
		"other boot":    func(e *Process) { e.BootID = "another" },
		"no process":    func(e *Process) { e.Pid = 1 << 22 },
		"init":          func(e *Process) { e.Pid = 1 },
	} {
		e := right
		change(&e)
		if was, err := e.Kill(); was || err != nil {
			t.Errorf("%s: %v %v", name, was, err)
		}
	}
	if syscall.Kill(cmd.Process.Pid, 0) != nil {
		t.Fatal("another process was killed")
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if was, err := right.Kill(); !was || err != nil {
		t.Errorf("the right one: %v %v", was, err)
	}
	if err := <-done; err == nil {
		t.Error("the right one ended by itself")
	}
}

func FuzzStartTicks(f *testing.F) {
	f.Add("1234 (a) b) (c) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5588 1 1")
	f.Add("")
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		n, err := parseStartTicks(stat)
		if err == nil && !strings.Contains(stat, ")") {
			t.Errorf("%q is not a stat but gives %d", stat, n)
		}
	})
}

func TestStartTicks(t *testing.T) {
	n, err := parseStartTicks("1234 (a) b) (c) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5588 1 1")
	if n != 5588 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}
