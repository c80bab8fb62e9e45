package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/term"
)

// Limits of what has one form only, in bytes.
const (
	Secrets  = 64 << 10 // a secret, or certificates
	Contexts = 4 << 20  // a file of contexts
)

var (
	// ErrTooLarge says that there is more than the limit.
	ErrTooLarge = errors.New("is too large")
	// ErrFolder says that a folder is where a file should be.
	ErrFolder = errors.New("is a folder, not a file")
	// ErrDevice says that a device is where a file should be.
	ErrDevice = errors.New("is a device, not a file")
	// ErrSilent says that a pipe gives nothing.
	ErrSilent = errors.New("is a pipe that nobody writes to: start what writes to it first")
)

// Open opens a file to read. It may be a terminal, or a pipe: opening it does not wait for somebody to write. Its errors are ErrFolder,
// ErrDevice, and those of os, which name the path.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s %w", path, ErrFolder)
	case info.Mode()&fs.ModeDevice != 0 && !term.IsTerminal(int(f.Fd())): // it may have no end
		err = fmt.Errorf("%s %w", path, ErrDevice)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// File reads all of a file, at most limit bytes. Its errors are those of Open, ErrTooLarge and ErrSilent.
func File(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := Read(f, path, limit)
	if err == nil && len(b) == 0 {
		if info, err := f.Stat(); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			return nil, fmt.Errorf("%s %w", path, ErrSilent)
		}
	}
	return b, err
}

// Read reads all of r, at most limit bytes; name is what errors call it. ErrTooLarge.
func Read(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s %w: it has more than %s", name, ErrTooLarge, size(limit))
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func size(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
