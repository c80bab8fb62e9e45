package sandbox

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fill writes a file that really takes blocks.
func fill(t *testing.T, path string, bytes int64) *os.File {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = io.CopyN(f, endless{}, bytes)
	must(t, err)
	must(t, f.Sync())
	return f
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

// TestMeasureDisk: all that takes blocks counts, wherever a process puts it, and nothing else does.
func TestMeasureDisk(t *testing.T) {
	const mib = 1 << 20
	pid := os.Getpid()
	home := t.TempDir()
	measure := func(what string, wantMiB int64, files int) {
		t.Helper()
		d, err := MeasureDisk(home, pid, 1<<40)
		must(t, err)
		if got := d.Bytes / mib; got != wantMiB || d.Files != files {
			t.Errorf("%s: %d MiB in %d files, want %d in %d", what, got, d.Files, wantMiB, files)
		}
	}
	measure("nothing", 0, 0)
	fill(t, filepath.Join(home, "a"), 3*mib)
	must(t, os.MkdirAll(filepath.Join(home, "b", "c"), 0o700))
	fill(t, filepath.Join(home, "b", "c", "d"), 2*mib)
	measure("files", 5, 4)
	gone := fill(t, filepath.Join(home, "gone"), 4*mib)
	must(t, os.Remove(gone.Name()))
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", gone.Fd()))
	must(t, err)
	defer again.Close()
	measure("and one that was removed and is open, twice", 9, 5)
	sparse, err := os.Create(filepath.Join(home, "sparse"))
	must(t, err)
	must(t, sparse.Truncate(1<<40))
	must(t, sparse.Close())
	outside := t.TempDir()
	fill(t, filepath.Join(outside, "x"), 7*mib)
	must(t, os.Symlink(outside, filepath.Join(home, "link")))
	measure("and what takes nothing", 9, 7)
	if _, err := MeasureDisk(filepath.Join(home, "none"), pid, 1); err == nil {
		t.Error("a folder that does not exist was measured")
	}
}

// TestOver: bytes, files and depth are bounded, and looking stops soon after.
func TestOver(t *testing.T) {
	many, deep := t.TempDir(), t.TempDir()
	for i := range maxFiles + 100 {
		must(t, os.Symlink("x", filepath.Join(many, fmt.Sprint(i))))
	}
	must(t, os.MkdirAll(filepath.Join(deep, strings.Repeat("d/", maxDepth+9)), 0o700))
	fill(t, filepath.Join(deep, "x"), 3<<20)
	for _, tc := range []struct {
		home  string
		limit int64
		want  string
	}{
		{many, 1 << 40, "more than 10000 temporary files"},
		{deep, 1 << 40, "more than 32 folders"},
		{deep, 2 << 20, "more than the 2 MiB of disk"},
	} {
		d, err := MeasureDisk(tc.home, os.Getpid(), tc.limit)
		must(t, err)
		if got := d.Over(tc.limit); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%q, want %q", got, tc.want)
		}
		if d.Files > maxFiles+1 || d.Depth > maxDepth+1 {
			t.Errorf("looked at %+v", d)
		}
	}
	whole := Disk{Bytes: 1 << 20, Files: maxFiles, Depth: maxDepth}
	if got := whole.Over(1 << 20); got != "" {
		t.Errorf("what is allowed is too much: %q", got)
	}
	if got := (Disk{Bytes: 1 << 50, Files: 1 << 30, Depth: 1 << 20}).Over(0); got != "" {
		t.Errorf("no limit, and too much: %q", got)
	}
}
