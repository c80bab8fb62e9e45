package agent

import (
	"path/filepath"
	"strings"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestDiskIsBounded: an engine that fills its folder is ended with the reason, what it wrote is gone, and others go on.
func TestDiskIsBounded(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	c.start(dir, func(cfg *Config) { cfg.EngineDisk = 20 << 20 }) // less than all, and more than what has a name or has none
	c.want(task("wait", 1, 0), task("fill", 1, 1))
	pid := c.up("alloc-wait1/0")
	f := c.report("alloc-fill1/1", "failure", hasFailed).GetFailed()
	if !strings.Contains(f.GetMessage(), "more than the 20 MiB of disk") || f.GetPermanent() || f.GetNodeFault() {
		t.Errorf("report of the end: %v", f)
	}
	c.await("the folder is gone", func() bool {
		left, _ := filepath.Glob(filepath.Join(dir, "scratch", "*fill*"))
		return len(left) == 0
	})
	if !alive(pid) {
		t.Error("another engine is gone")
	}
}

// TestNoLimitOfDisk: with 0 nobody looks; a negative limit is refused.
func TestNoLimitOfDisk(t *testing.T) {
	supervised(t, func(s *supervisor, _ *stage) {
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
		s.watchDisk(t.Context(), nil) // returns, for it has no process to look at
	})
	if err := (Config{EngineDisk: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "engine disk") {
		t.Errorf("%v, want that a negative limit is refused", err)
	}
}
