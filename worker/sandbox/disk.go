package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Bounds of a scratch folder besides its bytes, so that looking at it takes no time.
const (
	maxFiles = 10_000
	maxDepth = 32 // folders in folders
)

// Disk is what an engine takes of the disk.
type Disk struct {
	Bytes int64 // of its blocks; what a sparse file leaves out takes none
	Files int   // and folders
	Depth int   // of folders in folders
}

// Over says how it is beyond a limit in bytes, 0 being none, and what to do; empty: it is not.
func (d Disk) Over(limit int64) string {
	switch {
	case limit == 0:
		return ""
	case d.Bytes > limit:
		return fmt.Sprintf("its temporary files take more than the %d MiB of disk that an engine may have on this node: "+
			"write less, or raise --engine-disk-mib of the worker", limit>>20)
	case d.Files > maxFiles:
		return fmt.Sprintf("it has more than %d temporary files: write fewer", maxFiles)
	case d.Depth > maxDepth:
		return fmt.Sprintf("its temporary files lie in more than %d folders in each other: nest them less", maxDepth)
	}
	return ""
}

// MeasureDisk sums what lies in the folder of a process, and what it has open that was removed from there. It stops when it has
// seen more than an engine may have.
func MeasureDisk(home string, pid int, limit int64) (Disk, error) {
	root, err := os.OpenRoot(home)
	if err != nil {
		return Disk{}, fmt.Errorf("look at the folder for temporary files: %w", err)
	}
	defer root.Close()
	var d Disk
	if err := d.add(root, 0, limit); err != nil {
		return d, fmt.Errorf("look at the folder for temporary files: %w", err)
	}
	info, err := root.Stat(".")
	if err != nil {
		return d, fmt.Errorf("look at the folder for temporary files: %w", err)
	}
	d.addOpen(pid, info.Sys().(*syscall.Stat_t).Dev)
	return d, nil
}

// blockSize is that of Stat_t.Blocks, whatever the file system.
const blockSize = 512

// add adds what lies in a folder. It follows no links, and what goes away meanwhile is not counted.
func (d *Disk) add(dir *os.Root, depth int, limit int64) error {
	d.Depth = max(d.Depth, depth)
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	const batch = 256 // names to read at a time
	for d.Over(limit) == "" {
		entries, err := f.ReadDir(batch)
		for _, e := range entries {
			if d.Over(limit) != "" {
				return nil
			}
			if err := d.addEntry(dir, e.Name(), depth, limit); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) addEntry(dir *os.Root, name string, depth int, limit int64) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	d.Files++
	d.Bytes += info.Sys().(*syscall.Stat_t).Blocks * blockSize
	if !info.IsDir() {
		return nil
	}
	below, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer below.Close()
	return d.add(below, depth+1, limit)
}

// addOpen adds files of a file system that a process has open and that have no name any more.
func (d *Disk) addOpen(pid int, device uint64) {
	seen := map[uint64]bool{} // one file may be open many times
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	for _, path := range paths {
		info, err := os.Stat(path) // what it is open to
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		s := info.Sys().(*syscall.Stat_t)
		if s.Nlink > 0 || s.Dev != device || seen[s.Ino] {
			continue
		}
		seen[s.Ino] = true
		d.Files++
		d.Bytes += s.Blocks * blockSize
	}
}
