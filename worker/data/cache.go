package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
)

// Shards hands out whole shards as files that are open for reading.
type Shards interface {
	// File returns the file of a shard, seen to have its hash; the caller closes it. open reads the shard's object, for who has to get it
	// first. Errors are ErrNoRoom, those of open, and dataset.ErrCorrupt for other bytes than those of the hash.
	File(ctx context.Context, sh dataset.Shard, open func() (io.ReadCloser, error)) (*os.File, error)
}

// Cache keeps shards of datasets in a folder of the agent, for all engines of a node. A file is
// named by its sha256, which was seen to be right before it got the name. Whoever uses a
// file holds a lock on it that ends with its last descriptor; files without one give way to others.
type Cache struct {
	Dir   string
	Bytes int64 // of all files together, at most
}

// ErrNoRoom: there is no cache, the files in use leave no room for another, or nothing can be written there.
var ErrNoRoom = errors.New("the cache of datasets is full")

// Unwritable tells whether an error says that a disk of this node is full or read-only.
func Unwritable(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOSPC, unix.EDQUOT, unix.EROFS}, func(is error) bool { return errors.Is(err, is) })
}

const (
	partial   = ".part"                // ends the name of a file that is not whole yet
	cachePoll = 100 * time.Millisecond // between two looks whether another process has the file
)

// File implements Shards. It waits for whoever is about to get the same shard.
func (c Cache) File(ctx context.Context, sh dataset.Shard, open func() (io.ReadCloser, error)) (*os.File, error) {
	if sh.Bytes > c.Bytes {
		return nil, ErrNoRoom // and nothing has to give way
	}
	f, err := c.file(ctx, sh, open)
	if Unwritable(err) {
		err = fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return f, err
}

func (c Cache) file(ctx context.Context, sh dataset.Shard, open func() (io.ReadCloser, error)) (*os.File, error) {
	for {
		f, whole, err := c.claim(sh)
		if err != nil || whole {
			return f, err
		}
		if f != nil {
			return c.fill(f, sh, open)
		}
		select {
		case <-time.After(cachePoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim opens the whole file, or makes room for it and an empty one to be filled; nil if
// another process is filling it.
func (c Cache) claim(sh dataset.Shard) (f *os.File, whole bool, err error) {
	unlock, err := c.lock()
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	path := filepath.Join(c.Dir, sh.SHA256)
	f, err = os.Open(path)
	switch {
	case err == nil:
		now := time.Now()
		if err := errors.Join(flock(f, unix.LOCK_SH), os.Chtimes(path, now, now)); err != nil {
			return nil, false, errors.Join(fmt.Errorf("use %s: %w", path, err), f.Close())
		}
		return f, true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("open cached shard: %w", err)
	}
	f, err = os.OpenFile(path+partial, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("make cached shard: %w", err)
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		if err := f.Close(); err != nil {
			return nil, false, err
		}
		return nil, false, nil // another process has it
	}
	// Its size is taken now, so that others see how much room is left.
	err = c.makeRoom(sh.Bytes, filepath.Base(path)+partial)
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Truncate(sh.Bytes))
	}
	if err != nil {
		return nil, false, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return f, false, nil
}

// fill downloads a shard into its file, which it closes, checks it, gives it its name, and opens it again to be read only.
func (c Cache) fill(f *os.File, sh dataset.Shard, open func() (io.ReadCloser, error)) (*os.File, error) {
	err := verify(sh, open, f)
	if err == nil {
		if err = f.Sync(); err != nil { // the name says that it is whole, after a power cut too
			err = fmt.Errorf("write cached shard: %w", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.discard(f))
	}
	unlock, err := c.lock()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	defer unlock()
	path := strings.TrimSuffix(f.Name(), partial)
	if err := errors.Join(os.Rename(f.Name(), path), f.Close()); err != nil {
		return nil, fmt.Errorf("keep cached shard: %w", err)
	}
	whole, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open cached shard: %w", err)
	}
	if err := flock(whole, unix.LOCK_SH); err != nil { // nobody else takes one while this has the folder's
		return nil, errors.Join(fmt.Errorf("use %s: %w", path, err), whole.Close())
	}
	return whole, nil
}

// discard gives up a file that could not be filled.
func (c Cache) discard(f *os.File) error {
	unlock, err := c.lock() // or another process could lock what is about to go
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer unlock()
	return errors.Join(os.Remove(f.Name()), f.Close())
}

// verify reads a shard once, copies it to w and checks its sha256.
func verify(sh dataset.Shard, open func() (io.ReadCloser, error), w io.Writer) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), r)
	if err != nil {
		return fmt.Errorf("shard %s: %w", sh.Key, err)
	}
	if n < sh.Bytes {
		return fmt.Errorf("%w: shard %s ended after %d of %d bytes", storage.ErrUnavailable, sh.Key, n, sh.Bytes)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != sh.Bytes || got != sh.SHA256 {
		return fmt.Errorf("%w: shard %s has %d bytes with sha256 %s", dataset.ErrCorrupt, sh.Key, n, got)
	}
	return nil
}

// makeRoom removes files that nobody uses, those that were opened longest ago first, until
// there is room for n bytes more; but for one by the name of except. It needs the lock.
func (c Cache) makeRoom(n int64, except string) error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return fmt.Errorf("look at the cache of datasets: %w", err)
	}
	var files []fs.FileInfo
	used := n
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || e.Name() == except || e.Name() == lockName {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at the cache of datasets: %w", err)
		}
		used += info.Size()
		files = append(files, info)
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range files {
		if used <= c.Bytes {
			return nil
		}
		if c.evict(info.Name()) {
			used -= info.Size()
		}
	}
	if used > c.Bytes {
		return fmt.Errorf("%w: no room for %d bytes in %d", ErrNoRoom, n, c.Bytes)
	}
	return nil
}

// evict removes a file unless it is in use.
func (c Cache) evict(name string) bool {
	path := filepath.Join(c.Dir, name)
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return flock(f, unix.LOCK_EX) == nil && os.Remove(path) == nil
}

const lockName = "lock"

// lock keeps other processes from changing what is in the folder. It is held for moments.
func (c Cache) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache of datasets: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(c.Dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the cache of datasets: %w", err)
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the cache of datasets: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// flock takes a lock, or fails at once.
func flock(f *os.File, how int) error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) }
