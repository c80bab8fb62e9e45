package room

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/testing/protocmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRoom: a folder that takes nothing is told once, with what the system says; of several on one disk the first; and it is full until it
// takes a good deal again.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		shared := filepath.Join(dir, "cache")
		must(t, os.Mkdir(shared, 0o700))
		var mu sync.Mutex // of what follows
		free, other := int64(100<<20), error(nil)
		told := 0
		now := func(f func()) {
			mu.Lock()
			defer mu.Unlock()
			f()
		}
		r := &Watch{folders: []string{dir, shared, "/nowhere/else"}, changed: func() { now(func() { told++ }) }, log: zerolog.Nop()}
		r.try = func(folder string, bytes int64) error {
			mu.Lock()
			defer mu.Unlock()
			if folder == "/nowhere/else" {
				return other
			}
			if bytes > free {
				return &fs.PathError{Op: "open", Path: folder, Err: syscall.ENOSPC}
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		want := func(when string, times int, folders ...*tandemv1.FullFolder) {
			t.Helper()
			pause(t.Context())
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(folders, r.Full(), protocmp.Transform()); diff != "" || told != times {
				t.Errorf("%s: told %d times, want %d (-want +got):\n%s", when, told, times, diff)
			}
		}
		full := &tandemv1.FullFolder{Path: dir, Cause: "no space left on device"}
		want("all is well", 0)
		now(func() { free = least - 1 })
		want("full", 1, full)
		want("still full", 1, full)
		now(func() { free = least })
		want("at the edge", 1, full)
		now(func() { other = errors.New("it\nhangs") })
		want("another disk", 2, full, &tandemv1.FullFolder{Path: "/nowhere/else", Cause: "it?hangs"})
		now(func() { other, free = nil, again })
		want("room again", 3)
		now(func() { free = least })
		want("little room", 3)
		cancel()
		must(t, <-done)
	})
}

// TestTryWrite: what was tried leaves nothing behind, and no folder is made where there is none to be.
func TestTryWrite(t *testing.T) {
	dir := t.TempDir()
	must(t, tryWrite(filepath.Join(dir, "new"), least))
	if left, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(left) != 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
	if err := tryWrite("/dev/null/x", least); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("%v, want what the system says", err)
	}
}
