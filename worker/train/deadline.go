package train

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// shortestDeadline is how long a rank waits for the others at the least.
	shortestDeadline = 5 * time.Second
	// deadlineFactor: it waits so many times as long as it took itself since they last met. The ranks share the work
	// evenly, so in the middle of a training that is as many steps.
	deadlineFactor = 5
	// firstPatience with the first steps of a process that is new: code is compiled, memory is faulted in.
	firstPatience = 30 * time.Second
	firstSteps    = 2
	// transferPatience with the transfer of the whole state, of which one part follows the other.
	transferPatience = 5 * time.Minute
	// lookAgain is how often a rank that waits, or computes for long, is looked at.
	lookAgain = 50 * time.Millisecond
)

// patience with the other ranks in a step, or a small collective.
func (l *Loop) patience() time.Duration {
	if l.first > 0 {
		return firstPatience
	}
	return shortestDeadline
}

// guard calls f, which waits for other ranks, and has the group aborted when that takes too long: floor, or deadlineFactor
// times what this rank did since the ranks last met, whichever is more. Only waiting counts: a rank that computes for long
// keeps nobody from being found.
func (l *Loop) guard(floor time.Duration, f func() error) error {
	var late atomic.Int64 // what was waited when it was too long
	met, group := l.met, l.gen.Group
	done := make(chan struct{})
	timer := time.AfterFunc(floor, func() {
		for {
			waited := group.Waiting()
			own := l.Now().Sub(met) - waited
			if waited > 0 && waited >= max(floor, deadlineFactor*own) {
				late.Store(int64(waited))
				l.Abort(fmt.Sprintf("no answer from another rank within %v", waited.Round(100*time.Millisecond)))
				return
			}
			select {
			case <-done:
				return
			case <-time.After(lookAgain):
			}
		}
	})
	err := f()
	close(done)
	timer.Stop()
	if waited := time.Duration(late.Load()); err != nil && waited > 0 && !IsPermanent(err) {
		return fmt.Errorf("%w: %w: no answer within %v (%w)", ErrPeerLost, ErrHung, waited.Round(100*time.Millisecond), err)
	}
	l.met = l.Now()
	return err
}
