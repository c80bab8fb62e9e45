package room

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// interval is the time between two looks whether something can be written.
	interval = 5 * time.Second
	// least is what a folder must take, in bytes. One that was full must take again, so that a disk at its edge is not told of at
	// each look.
	least = 1 << 20
	again = 16 << 20
)

// Watch looks whether something can be written in folders.
type Watch struct {
	folders []string
	try     func(folder string, bytes int64) error // tryWrite but in tests
	changed func()
	log     zerolog.Logger

	mu   sync.Mutex
	full []*tandemv1.FullFolder
}

// New makes a watch of folders. changed is called when what Full returns is about other folders than before.
func New(folders []string, changed func(), log zerolog.Logger) *Watch {
	return &Watch{folders: folders, try: tryWrite, changed: changed, log: log}
}

// Run looks now and then until ctx ends. A look may hang with the disk, and is left alone then.
func (r *Watch) Run(ctx context.Context) error {
	for pause(ctx) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Look()
		}()
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	return nil
}

// Full returns the folders in which nothing can be written, one of each disk.
func (r *Watch) Full() []*tandemv1.FullFolder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// Look looks once.
func (r *Watch) Look() {
	before := map[string]bool{}
	for _, f := range r.Full() {
		before[f.GetPath()] = true
	}
	var full []*tandemv1.FullFolder
	disks, news := map[uint64]bool{}, false
	for _, folder := range r.folders {
		path, need := printed(folder), int64(least)
		if before[path] {
			need = again
		}
		err := r.try(folder, need)
		if disk, known := diskOf(folder); err != nil && known {
			if disks[disk] {
				continue // another folder tells it
			}
			disks[disk] = true
		}
		switch {
		case err != nil && !before[path]:
			r.log.Warn().Err(err).Str("path", folder).Msg("nothing can be written; the node takes no new work until something can")
		case err == nil && before[path]:
			r.log.Info().Str("path", folder).Msg("something can be written again")
		}
		news = news || (err != nil) != before[path]
		if err != nil {
			full = append(full, &tandemv1.FullFolder{Path: path, Cause: printed(systemError(err))})
		}
	}
	r.mu.Lock()
	r.full = full
	r.mu.Unlock()
	if news {
		r.changed()
	}
}

// pause waits until it is time for another look; false when ctx ends first.
func pause(ctx context.Context) bool {
	t := time.NewTimer(interval)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// diskOf is the number of the file system that a folder is on.
func diskOf(folder string) (uint64, bool) {
	var st unix.Stat_t
	err := unix.Stat(folder, &st)
	return st.Dev, err == nil
}

// systemError is what the system said, without the path.
func systemError(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// printed is text as a coordinator takes it.
func printed(text string) string {
	const most = 512 // bytes
	text = strings.Map(func(c rune) rune {
		if !unicode.IsGraphic(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// tryWrite takes so many bytes of a folder's disk for a moment. Its error is that of the system.
func tryWrite(folder string, bytes int64) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	path := filepath.Join(folder, ".room")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = os.Remove(path) // what it takes goes with the last descriptor, whatever happens
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = unix.Fallocate(int(f.Fd()), 0, 0, bytes)
	}
	if errors.Is(err, unix.EOPNOTSUPP) { // NFS, ZFS: a write tells as much, once it is on the disk
		if _, err = f.Write(make([]byte, 64<<10)); err == nil {
			err = f.Sync()
		}
	}
	return errors.Join(err, f.Close())
}
