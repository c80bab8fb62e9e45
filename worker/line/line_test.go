package line

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestMain is also the process at the other end.
func TestMain(m *testing.M) {
	if what := os.Getenv("LINE_TEST"); what != "" {
		if err := process(what); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// process is what an engine does with its line.
func process(what string) error {
	ctx := context.Background()
	l, err := Open(Descriptor)
	if err != nil {
		return err
	}
	switch what {
	case "talk":
		conn, err := l.Dial(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintln(conn, "hello")
		text, err := bufio.NewReader(conn).ReadString('\n')
		fmt.Print(text)
		return err
	case "file":
		f, err := l.File(ctx, &tandemv1.FileRequest{EngineId: "e"})
		if err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		fmt.Print(string(b))
		return err
	case "many": // more connections than one may hold, and what is not a request
		for range 3 * maxCalls {
			if _, err := l.Dial(ctx); err != nil {
				return err
			}
		}
		if _, err := l.conn.Write([]byte("x")); err != nil { // no socket comes with it
			return err
		}
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		if _, _, err := l.conn.WriteMsgUnix([]byte{askDial}, unix.UnixRights(int(r.Fd()), int(w.Fd())), nil); err != nil { // two, and neither is a socket
			return err
		}
		fmt.Println("done")
		_, err = io.ReadAll(os.Stdin) // until the test has heard it
		return err
	}
	return errors.New("what?")
}

// other starts the process with its end of a line. What it reads and writes is in and out.
func other(t *testing.T, what string) (h *Host, cmd *exec.Cmd, in io.WriteCloser, out io.Reader) {
	h, end, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	cmd = exec.Command(os.Args[0])
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), "LINE_TEST="+what), []*os.File{end}
	if in, err = cmd.StdinPipe(); err == nil {
		if out, err = cmd.StdoutPipe(); err == nil {
			err = cmd.Start()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return h, cmd, in, out
}

func TestCallsAndFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what string
		open func() (*os.File, error)
		want string
	}{
		{"talk", nil, "hello you\n"},
		{"file", func() (*os.File, error) { return os.Open(path) }, "content"},
		{"file", func() (*os.File, error) {
			return nil, connect.NewError(connect.CodePermissionDenied, errors.New("not yours"))
		}, "error: permission_denied: not yours\n"},
	} {
		h, cmd, _, said := other(t, tc.what)
		served := make(chan struct{})
		go func() {
			defer close(served)
			h.Serve(t.Context(), func(conn net.Conn) {
				go func() {
					defer conn.Close()
					text, _ := bufio.NewReader(conn).ReadString('\n')
					fmt.Fprintln(conn, strings.TrimSpace(text), "you")
				}()
			}, func(_ context.Context, r *tandemv1.FileRequest) (*os.File, error) {
				if r.GetEngineId() != "e" {
					t.Errorf("request %v", r)
				}
				return tc.open()
			})
		}()
		out, _ := io.ReadAll(said)
		_ = cmd.Wait() // what it said is what counts
		if string(out) != tc.want {
			t.Errorf("%s: %q, want %q", tc.what, out, tc.want)
		}
		<-served // the line ends with the process
	}
}

// TestMany: a process cannot use up the agent's descriptors, and what is not a request is passed over.
func TestMany(t *testing.T) {
	if h, end, err := New(); err != nil || h.Close() != nil || end.Close() != nil { // the runtime opens its own with the first
		t.Fatal(err)
	}
	before := descriptors(t)
	h, cmd, in, out := other(t, "many")
	var conns []net.Conn // of Serve, until it has returned
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.Serve(t.Context(), func(conn net.Conn) { conns = append(conns, conn) }, nil)
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "done\n" {
		t.Fatalf("%q %v", line, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	<-served
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(conns) != maxCalls {
		t.Errorf("%d connections at a time, want %d", len(conns), maxCalls)
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close() // twice gives the place back once
	}
	if len(h.calls) != 0 {
		t.Errorf("%d places are still taken", len(h.calls))
	}
	if now := descriptors(t); now > before {
		t.Errorf("%d descriptors, there were %d", now, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestGivenUp: an agent that opens a file for somebody learns when nobody waits for it any more.
func TestGivenUp(t *testing.T) {
	h, end, err := New()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(end.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	l, err := Open(uintptr(fd))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(served)
		h.Serve(t.Context(), nil, func(ctx context.Context, _ *tandemv1.FileRequest) (*os.File, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}()
	if _, err := l.File(ctx, &tandemv1.FileRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was given up", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-served
}
