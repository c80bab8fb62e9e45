package rotate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// File is an append-only file that is renamed to path.1, path.2 ... when it is full; the oldest goes.
type File struct {
	path  string
	limit int64 // bytes of one file
	keep  int   // older files kept

	mu   sync.Mutex
	file *os.File
	size int64
}

// Open opens a file to append to: limit is the most bytes of one file, keep the number of older ones that stay.
func Open(path string, limit int64, keep int) (*File, error) {
	r := &File{path: path, limit: limit, keep: keep}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *File) open() error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	r.file, r.size = f, info.Size()
	return nil
}

// Append writes one line. A disk that is full loses lines, never an engine.
func (r *File) Append(line []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || (r.size > 0 && r.size+int64(len(line)) > r.limit) {
		if err := r.rotate(); err != nil {
			return err
		}
	}
	n, err := r.file.Write(line)
	r.size += int64(n)
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

func (r *File) rotate() error {
	if r.file != nil {
		if err := r.file.Close(); err != nil {
			r.file = nil
			return fmt.Errorf("close log: %w", err)
		}
		r.file = nil
	}
	name := func(i int) string {
		if i == 0 {
			return r.path
		}
		return r.path + "." + strconv.Itoa(i)
	}
	for i := r.keep - 1; i >= 0; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate log: %w", err)
		}
	}
	return r.open()
}

// Name is the path of the file that lines go to now.
func (r *File) Name() string { return r.path }

// Close closes the file; it may be closed twice.
func (r *File) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
