package train

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// shortestDeadline of a step that waits for other ranks.
	shortestDeadline = 5 * time.Second
	// deadlineSteps is how many median steps a step may take.
	deadlineSteps = 5
	// patience with collectives of no known length: the first steps, evaluations, comparisons.
	patience = 30 * time.Second
	// transferPatience with the transfer of the whole state.
	transferPatience = 5 * time.Minute
	// paceSteps is how many steps the median is taken of.
	paceSteps = 32
	// firstSteps take longer than the rest: code is compiled, memory is faulted in.
	firstSteps = 5
)

// pace knows how long steps take here.
type pace struct {
	steps [paceSteps]time.Duration
	n     int // steps seen in this group
}

// add takes a step that was done.
func (p *pace) add(d time.Duration) {
	p.steps[p.n%paceSteps] = d
	p.n++
}

// median of the last steps; 0 before there are enough.
func (p *pace) median() time.Duration {
	if p.n < firstSteps {
		return 0
	}
	sorted := slices.Clone(p.steps[:min(p.n, paceSteps)])
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// deadline of the next step.
func (p *pace) deadline() time.Duration {
	m := p.median()
	if m == 0 {
		return patience
	}
	return max(shortestDeadline, deadlineSteps*m)
}

// guard calls f, which waits for other ranks, and has the group aborted when it has not
// returned within limit.
func (l *Loop) guard(limit time.Duration, f func() error) error {
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() {
		late.Store(true)
		l.Abort(fmt.Sprintf("no answer from another rank within %v", limit.Round(100*time.Millisecond)))
	})
	defer timer.Stop()
	err := f()
	if err != nil && late.Load() && !IsPermanent(err) {
		return fmt.Errorf("%w: %w: no answer within %v (%w)", ErrPeerLost, ErrHung, limit.Round(100*time.Millisecond), err)
	}
	return err
}
