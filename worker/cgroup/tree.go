package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	leaf   = "agent"   // where this process goes: a cgroup that is divided may have no processes
	prefix = "engine-" // of the names of groups
)

// Tree is a cgroup that is divided. Make it with Claim.
type Tree struct{ dir string }

// Limits are what a group may have. 0: any number.
type Limits struct {
	Memory    int64 // bytes, of all kinds: private, shared, and what the kernel keeps for it
	Processes int64 // and threads
}

// Claim divides the cgroup of this process, which moves into one below it. Errors are ErrNone and those of os; nothing has changed then.
func Claim() (*Tree, error) {
	dir, err := Find()
	if err != nil {
		return nil, err
	}
	t := &Tree{dir: dir}
	if err := t.claim(); err != nil {
		return nil, fmt.Errorf("divide the cgroup %s: %w", dir, err)
	}
	old, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, dir := range old {
		_ = unix.Rmdir(dir) // of an agent before this one; what is in use stays
	}
	return t, nil
}

// self is this process, as it writes its own number.
const self = "0"

func (t *Tree) claim() error {
	below := filepath.Join(t.dir, leaf)
	if err := os.Mkdir(below, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := write(below, fileProcesses, self)
	if err == nil {
		err = t.enable()
	}
	if err != nil {
		return errors.Join(err, write(t.dir, fileProcesses, self), unix.Rmdir(below))
	}
	return nil
}

// enable lets groups have limits.
func (t *Tree) enable() error {
	return write(t.dir, fileControl, "+"+strings.Join(needed, " +"))
}

// write writes a value to a file of a cgroup, in one piece.
func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// setting is what is written to a file of a group.
type setting struct {
	file, value string
	optional    bool // some kernels have no such file
}

// settings are the limits in the kernel's words. A group ends as a whole when it is out of memory, and swaps nothing: with swap, the limit
// would be reached later and the machine be slow before.
func (l Limits) settings() []setting {
	list := []setting{{"memory.oom.group", "1", false}, {"memory.swap.max", "0", true}}
	if l.Memory > 0 {
		list = append(list, setting{fileMemory, strconv.FormatInt(l.Memory, 10), false})
	}
	if l.Processes > 0 {
		list = append(list, setting{"pids.max", strconv.FormatInt(l.Processes, 10), false})
	}
	return list
}

// Make makes a group. End removes it.
func (t *Tree) Make(name string, l Limits) (_ *Group, err error) {
	if err := t.enable(); err != nil { // again: systemd takes it back from a unit without Delegate= when it likes
		return nil, fmt.Errorf("enable limits: %w", err)
	}
	dir := filepath.Join(t.dir, prefix+name)
	_ = unix.Rmdir(dir) // what could not be removed before
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Rmdir(dir)
		}
	}()
	for _, s := range l.settings() {
		if err := write(dir, s.file, s.value); err != nil && (!s.optional || !errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("limit a cgroup: %w", err)
		}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a cgroup: %w", err)
	}
	return &Group{dir: dir, fd: fd}, nil
}
