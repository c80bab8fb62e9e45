package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem.dev/proto/identity"
)

const settingsFile = "up.json"

// Settings are what a folder keeps from its first start on.
type Settings struct {
	Listen    string `json:"listen"`     // host:port of the API
	Gossip    string `json:"gossip"`     // host:port of the coordinator's gossip, on loopback
	Store     string `json:"store"`      // host:port of the embedded store, on loopback
	AccessKey string `json:"access_key"` // of the store
	SecretKey string `json:"secret_key"` // of the store
}

// Folder is the place of one cluster. Only one process has it at a time.
type Folder struct {
	Dir      string // absolute
	Settings Settings
	New      bool // it was made just now

	lock *os.File
}

// Open makes or takes a folder. listen is the host:port of the API; empty: what the folder has, else fallback. The two
// ports above that of the API are for gossip and the store; port 0 picks three free ones.
func Open(dir, listen, fallback string) (_ *Folder, err error) {
	f := &Folder{}
	if f.Dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return nil, hint(f.Dir, err)
	}
	if err := f.take(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	b, err := os.ReadFile(f.Path(settingsFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.New = true
		if listen == "" {
			listen = fallback
		}
		if err := f.create(listen); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, hint(f.Dir, err)
	default:
		if f.Settings, err = parseSettings(b); err != nil {
			return nil, fmt.Errorf("data folder %s: %s is damaged (%w): take another folder with --data-dir", f.Dir, settingsFile, err)
		}
		if listen != "" && listen != f.Settings.Listen {
			return nil, fmt.Errorf("the cluster in %s listens at %s, and its members know it by that: leave --listen out, or start another cluster with --data-dir", f.Dir, f.Settings.Listen)
		}
	}
	return f, f.checkPorts()
}

// parseSettings reads what create wrote; it refuses what no cluster can be started with.
func parseSettings(b []byte) (Settings, error) {
	var s Settings
	if err := json.Unmarshal(b, &s); err != nil {
		return Settings{}, err
	}
	for _, address := range []string{s.Listen, s.Gossip, s.Store} {
		_, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
			return Settings{}, fmt.Errorf("address %q is not host:port", address)
		}
	}
	if s.AccessKey == "" || s.SecretKey == "" {
		return Settings{}, errors.New("a key of the store is missing")
	}
	return s, nil
}

// Path is a path in the folder.
func (f *Folder) Path(parts ...string) string {
	return filepath.Join(append([]string{f.Dir}, parts...)...)
}

// Close lets the folder go.
func (f *Folder) Close() { _ = f.lock.Close() }

// take locks the folder against a second cluster.
func (f *Folder) take() error {
	lock, err := os.OpenFile(f.Path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return hint(f.Dir, err)
	}
	f.lock = lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(f.Path("lock"))
		_ = lock.Close()
		return fmt.Errorf("the cluster in %s is running already (process %s): use it, stop it with Ctrl-C there, or start another one with --data-dir and --listen", f.Dir, pid)
	}
	// The number only serves the message above, but a full disk shows here first.
	if err := lock.Truncate(0); err != nil {
		return hint(f.Dir, err)
	}
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return hint(f.Dir, err)
	}
	return nil
}

// create chooses addresses and makes keys.
func (f *Folder) create(listen string) error {
	host, port, err := splitAddress(listen)
	if err != nil {
		return err
	}
	if port == 0 {
		if port, err = freePorts(host); err != nil {
			return err
		}
	}
	f.Settings = Settings{
		Listen:    net.JoinHostPort(host, strconv.Itoa(port)),
		Gossip:    net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)),
		Store:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port+2)),
		AccessKey: "tandem-" + rand.Text()[:12],
		SecretKey: rand.Text() + rand.Text(),
	}
	b, err := json.MarshalIndent(f.Settings, "", "  ")
	if err != nil {
		return err
	}
	if err := identity.WriteFile(f.Dir, settingsFile, append(b, '\n')); err != nil {
		return hint(f.Dir, err)
	}
	return nil
}

// CheckListen refuses an address that Open cannot make a cluster at; empty is fine.
func CheckListen(listen string) error {
	if listen == "" {
		return nil
	}
	_, _, err := splitAddress(listen)
	return err
}

func splitAddress(listen string) (string, int, error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("--listen %s: write host:port, such as 127.0.0.1:7070", listen)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65533 {
		return "", 0, fmt.Errorf("--listen %s: the port must be 0 to 65533 (the next two are used as well)", listen)
	}
	return host, port, nil
}

// freePorts finds a port which, with the next two, is free.
func freePorts(host string) (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return 0, fmt.Errorf("--listen %s: %w", host, err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port <= 65533 && free(host, port) == nil && free("127.0.0.1", port+1) == nil && free("127.0.0.1", port+2) == nil {
			return port, nil
		}
	}
	return 0, errors.New("no three free ports in a row: name one with --listen host:port")
}

func free(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// checkPorts finds out before anything is started whether the addresses can be had.
func (f *Folder) checkPorts() error {
	for _, a := range []struct{ use, address string }{
		{"the API", f.Settings.Listen}, {"gossip", f.Settings.Gossip}, {"the store", f.Settings.Store},
	} {
		l, err := net.Listen("tcp", a.address)
		if errors.Is(err, syscall.EADDRINUSE) {
			advice := "choose another with --listen host:port (the next two ports are used as well)"
			if !f.New {
				advice = "stop that program; this cluster's members know it by this port"
			} else {
				_ = os.Remove(f.Path(settingsFile))
			}
			return fmt.Errorf("%s, for %s, is in use by another program: %s", a.address, a.use, advice)
		}
		if err != nil {
			if f.New {
				_ = os.Remove(f.Path(settingsFile))
			}
			return fmt.Errorf("cannot listen on %s: %w: choose another address with --listen", a.address, err)
		}
		_ = l.Close()
	}
	return nil
}

// hint says what to do about the usual troubles with a folder.
func hint(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk of %s is full: free some space, or choose another folder with --data-dir (%w)", dir, err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the folder %s cannot be written: choose another with --data-dir (%w)", dir, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is not a folder: choose another with --data-dir", dir)
	}
	return fmt.Errorf("data folder %s: %w", dir, err)
}
