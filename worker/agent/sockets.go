package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// socketFolder makes the folder of the unix sockets: only this user may enter it. The kernel limits their paths to 107
// bytes; where the data folder's is too long, a folder under the system's for temporary files is used, always the same one.
func socketFolder(dataDir string) (string, error) {
	const longest = 107 - len("/s-cuda1023.sock")
	dir := filepath.Join(dataDir, "run")
	if len(dir) > longest {
		h := sha256.Sum256([]byte(dataDir))
		dir = filepath.Join(os.TempDir(), "tandem-"+hex.EncodeToString(h[:8]))
	}
	if len(dir) > longest {
		return "", fmt.Errorf("make folder for sockets: %s is too long: use a shorter data folder or TMPDIR", dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make folder for sockets: %w", err)
	}
	info, err := os.Lstat(dir) // someone else may have made it, or a link of that name
	if err != nil {
		return "", fmt.Errorf("make folder for sockets: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(owner.Uid) != os.Geteuid() {
		return "", fmt.Errorf("folder for sockets %s is not this user's alone: remove it", dir)
	}
	return dir, nil
}

// listenUnix listens on path; a socket that a former agent left is removed.
func listenUnix(path string) (*net.UnixListener, error) {
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err // it names the path
	}
	return l, nil
}

func removeSocket(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	return nil
}
