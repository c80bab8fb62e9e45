package agent

import (
	"context"
	"time"

	"tandem.dev/worker/sandbox"
)

// diskInterval is the time between two looks at what an engine takes of the disk.
const diskInterval = time.Second

// watchDisk looks at what a process takes of the disk until ctx ends, or it takes too much: then whatever task it is at is to end.
func (s *supervisor) watchDisk(ctx context.Context, r *runner) {
	limit := s.cfg.sandbox.Limits.Disk
	if limit == 0 {
		return
	}
	for sleep(ctx, diskInterval) == nil {
		use, err := sandbox.MeasureDisk(r.policy.Home, r.pid(), limit)
		why := use.Over(limit)
		if err != nil {
			if ctx.Err() != nil {
				return // the folder goes with the process
			}
			why = "what its temporary files take cannot be found out: " + err.Error()
		}
		if why == "" {
			continue
		}
		s.mu.Lock()
		r.engine.full = why
		s.mu.Unlock()
		s.wakeUp()
		return
	}
}
