package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	stdlog "log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// lockFolder makes the data folder and locks it: a second agent would kill the engines of the first.
func lockFolder(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another agent uses the data folder %s: end it, or give this one a folder of its own", dir)
		}
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// nextIncarnation is the number of this start: more than that of any earlier one, even if the file was lost, for it
// is at least the time in milliseconds.
func nextIncarnation(path string, now time.Time) (int64, error) {
	var last int64
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if last, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil {
			last = 0 // torn by a crash: the time takes its place
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("read incarnation: %w", err)
	}
	next := max(last+1, now.UnixMilli())
	if err := os.WriteFile(path+".tmp", []byte(strconv.FormatInt(next, 10)+"\n"), 0o600); err != nil {
		return 0, fmt.Errorf("write incarnation: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return 0, fmt.Errorf("write incarnation: %w", err)
	}
	return next, nil
}

// quietLog passes what net/http logs on as detail: broken handshakes of strangers.
func quietLog(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(detail{log}, "", 0)
}

type detail struct{ log zerolog.Logger }

func (d detail) Write(p []byte) (int, error) {
	d.log.Debug().Str("detail", string(bytes.TrimSpace(p))).Msg("https")
	return len(p), nil
}
