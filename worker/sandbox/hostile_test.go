package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tandem.dev/worker/sandbox/sandboxtest"
	"tandem.dev/worker/seal"
)

// hostile is a process that tries everything. It gives up what an engine gives up.
func hostile(args string) error {
	var p sandboxtest.Prey
	if err := json.Unmarshal([]byte(args), &p); err != nil {
		return err
	}
	unfiltered := os.Getenv("SANDBOX_TEST_UNFILTERED") != ""
	if err := seal.Close(seal.Options{Unfiltered: unfiltered, Memory: 4 << 30, Threads: 4096, Files: 256}); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sandboxtest.Try(p, unfiltered))
}

// TestMain is also the hostile process, and the one of BenchmarkStart.
func TestMain(m *testing.M) {
	if how := os.Getenv(startVariable); how != "" {
		if err := shortLived(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if args := os.Getenv("SANDBOX_TEST"); args != "" {
		if err := hostile(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// shown makes the prey. All of it lies where any user may walk, so that only the sandbox keeps a process away.
func shown(t *testing.T) sandboxtest.Prey {
	t.Helper()
	dir, err := os.MkdirTemp("", "sandbox")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := sandboxtest.Prey{
		Descriptors: 512,
		Parent:      os.Getpid(), Secret: filepath.Join(dir, "secret"), Open: filepath.Join(dir, "open"), Private: []string{filepath.Join(dir, "private")},
		Folder: filepath.Join(dir, "folder"), Home: filepath.Join(dir, "home"), Abstract: filepath.Base(dir),
	}
	must(t, os.Chmod(dir, 0o755))
	for path, mode := range map[string]os.FileMode{p.Secret: 0o644, p.Open: 0o666, p.Private[0]: 0o600} {
		must(t, os.WriteFile(path, []byte("x"), mode))
		must(t, os.Chmod(path, mode))
	}
	must(t, os.Mkdir(p.Folder, 0o777))
	must(t, os.Chmod(p.Folder, 0o777))
	must(t, os.Mkdir(p.Home, 0o700))
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", "@" + p.Abstract}} {
		l, err := net.Listen(at[0], at[1])
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			p.Ports = append(p.Ports, tcp.Port)
		}
	}
	return p
}

// unleash runs the hostile process under what f has, and returns what it was able to do, and its policy.
func unleash(t *testing.T, f Features) []string {
	t.Helper()
	p := shown(t)
	self, err := os.Executable()
	must(t, err)
	h := Host{Features: f, Program: self}
	n := Need{Home: p.Home, User: Own}
	if f.User {
		n.User = 65533
		must(t, os.Chown(p.Home, n.User, n.User))
	}
	args, err := json.Marshal(p)
	must(t, err)
	program, err := unix.Open(self, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(program)
	cmd := exec.Command(self)
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", program) // it lies where others cannot walk
	cmd.Env = []string{"SANDBOX_TEST=" + string(args)}
	if !f.Seccomp {
		cmd.Env = append(cmd.Env, "SANDBOX_TEST_UNFILTERED=1")
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := h.Policy(n, Glob).Run(t.Context(), cmd); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	var able []string
	must(t, json.Unmarshal(out.Bytes(), &able))
	return able
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
