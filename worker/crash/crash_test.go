package crash_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem.dev/worker/crash"
)

const variable = "TANDEM_CRASH_TEST"

// ways to bring the process down, by their number in C.
var ways = []string{"null", "stack", "thread", "abort"}

func TestMain(m *testing.M) {
	switch os.Getenv(variable) {
	case "":
		os.Exit(m.Run())
	case "nil in Go":
		defer func() {
			if recover() != nil {
				os.Exit(7)
			}
		}()
		var p *int
		*p = 1
	case "as asked":
		_ = crash.ExitWith(9, func() error {
			crash.Now(slices.Index(ways, os.Getenv(variable+"_HOW")))
			return nil
		})
	case "later":
		_ = crash.ExitWith(9, func() error { return nil })
		crash.Now(0)
	default:
		crash.Now(slices.Index(ways, os.Getenv(variable)))
	}
	os.Exit(0)
}

// TestAProcessDiesOfItsSignal: with a register dump and exit code 2 nobody could say what an engine died of.
func TestAProcessDiesOfItsSignal(t *testing.T) {
	for how, want := range map[string]syscall.Signal{
		"null": syscall.SIGSEGV, "stack": syscall.SIGSEGV, "thread": syscall.SIGSEGV, "abort": syscall.SIGABRT,
	} {
		t.Run(how, func(t *testing.T) {
			out, ws := run(t, how)
			if !ws.Signaled() || ws.Signal() != want {
				t.Errorf("status %#x, want %v", ws, want)
			}
			if strings.Contains(out, "rip") || strings.Contains(out, "goroutine") {
				t.Errorf("it wrote %.200q", out)
			}
		})
	}
	if _, ws := run(t, "nil in Go"); ws.ExitStatus() != 7 {
		t.Errorf("status %#x: a nil pointer in Go is not a panic any more", ws)
	}
}

// TestExitWith: the exit code of what it was doing, also of a full stack and of abort, and only until that is done.
func TestExitWith(t *testing.T) {
	for _, how := range []string{"null", "stack", "abort"} {
		t.Setenv(variable+"_HOW", how)
		if out, ws := run(t, "as asked"); ws.ExitStatus() != 9 || out != "" {
			t.Errorf("%s: status %#x, and it wrote %.200q", how, ws, out)
		}
	}
	if _, ws := run(t, "later"); !ws.Signaled() || ws.Signal() != syscall.SIGSEGV {
		t.Errorf("status %#x after it, want SIGSEGV", ws)
	}
}

func run(t *testing.T, how string) (out string, ws syscall.WaitStatus) {
	t.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), variable+"="+how)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, b)
	}
	ws, _ = exit.Sys().(syscall.WaitStatus)
	return string(b), ws
}
