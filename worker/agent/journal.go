package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tandem.dev/worker/child"
)

// journal keeps a file for each task whose process was started, until the coordinator no longer wants the task. The
// next agent on this node reads it: to kill what is still there, and to know which tasks have had their process.
type journal struct {
	dir string
}

// entry is one file of the journal.
type entry struct {
	ID         string `json:"id"`
	Generation int64  `json:"generation"`
	Replica    bool   `json:"replica"`
	child.Process
}

func (e entry) key() taskKey { return taskKey{e.ID, e.Generation} }

// record notes a process that was just started.
func (j journal) record(key taskKey, replica bool, pid int) error {
	b, err := json.Marshal(entry{ID: key.id, Generation: key.generation, Replica: replica, Process: child.Identify(pid)})
	if err != nil {
		return fmt.Errorf("encode journal entry: %w", err)
	}
	path := filepath.Join(j.dir, fileName(key)+".json")
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// forget removes a task that is no longer wanted.
func (j journal) forget(key taskKey) error {
	err := os.Remove(filepath.Join(j.dir, fileName(key)+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trim journal: %w", err)
	}
	return nil
}

// read returns all entries. A file that cannot be read is of no use and goes; torn are their paths.
func (j journal) read() (entries []entry, torn []string, err error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make journal folder: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(j.dir, "*"))
	if err != nil {
		return nil, nil, fmt.Errorf("list journal: %w", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("read journal: %w", err)
		}
		if e, ok := parseEntry(b); ok {
			entries = append(entries, e)
			continue
		}
		if err := os.Remove(path); err != nil {
			return nil, nil, fmt.Errorf("trim journal: %w", err)
		}
		torn = append(torn, path)
	}
	return entries, torn, nil
}

// parseEntry reads one file; false when it names no task.
func parseEntry(b []byte) (entry, bool) {
	var e entry
	err := json.Unmarshal(b, &e)
	return e, err == nil && e.ID != ""
}

// fileName turns a task's identity, made by the coordinator, into a name without folders.
func fileName(key taskKey) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, key.id)
	return clean + "-g" + strconv.FormatInt(key.generation, 10)
}
