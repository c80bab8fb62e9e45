package input

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestWhatIsNoFile: a folder, a pipe without a writer, a device without an end, and a file that is much too large end in an error that
// names them, at once and within the limit.
func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, large, exact := filepath.Join(dir, "pipe"), filepath.Join(dir, "large"), filepath.Join(dir, "exact")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(large, nil, 0o600), os.Truncate(large, 1<<40),
		os.WriteFile(exact, make([]byte, Secrets), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		dir: ErrFolder, pipe: ErrSilent, "/dev/zero": ErrDevice, large: ErrTooLarge, filepath.Join(dir, "none"): os.ErrNotExist, exact: nil, "/dev/null": ErrDevice,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := File(path, Secrets)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if path == exact && len(b) != Secrets {
			t.Errorf("%d bytes of a file that has the limit", len(b))
		}
		if held := after.TotalAlloc - before.TotalAlloc; held > 16*Secrets {
			t.Errorf("%s: %d bytes were allocated", path, held)
		}
	}
}

// TestPipe: what a pipe gives is read to its end, also when it comes later.
func TestPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(pipe, os.O_RDWR, 0) // both ends, so that it does not wait
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	go func() {
		<-opened
		_, _ = io.WriteString(w, "text")
		_ = w.Close()
	}()
	f, err := Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	close(opened)
	if b, err := Read(f, pipe, 10); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
}
