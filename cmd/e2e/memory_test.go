package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// keyless looks through the memory and the environment of all engines of a worker for the keys of the store. It must find the id of the
// engine, which shows that the search works.
func (c *cluster) keyless(i int) {
	c.t.Helper()
	engines := under(c.workerDir(i))
	if len(engines) == 0 {
		c.t.Error("no engine runs")
	}
	for _, e := range engines {
		id := e.args[slices.Index(e.args, "--engine")+1]
		found, err := inMemory(e.pid, id, storeSecret)
		if err != nil {
			c.t.Error(err)
			continue
		}
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.pid))
		if err != nil || !bytes.Contains(environment, []byte("OMP_NUM_THREADS=")) {
			c.t.Errorf("the environment of engine %s: %v", id, err)
		}
		if !slices.Equal(found, []string{id}) || bytes.Contains(environment, []byte(storeSecret)) {
			c.t.Errorf("the memory of engine %s has %q of its id and the secret key of the store", id, found)
		}
	}
}

// inMemory lists which of some texts stand in the memory that a process may write to.
func inMemory(pid int, texts ...string) (found []string, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	longest := 0
	for _, text := range texts {
		longest = max(longest, len(text))
	}
	b := make([]byte, 4<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if !strings.Contains(line, " rw") { // of the kernel's part there are addresses that no int64 holds
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		for at := from; at < to; at += int64(len(b) - longest) { // a text may lie across the end of a piece
			n, err := memory.ReadAt(b[:min(int64(len(b)), to-at)], at)
			if err != nil && !errors.Is(err, io.EOF) && n == 0 { // it was given back meanwhile, or is a device's
				break
			}
			for _, text := range texts {
				if !slices.Contains(found, text) && bytes.Contains(b[:n], []byte(text)) {
					found = append(found, text)
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int { return slices.Index(texts, a) - slices.Index(texts, b) })
	return found, nil
}
