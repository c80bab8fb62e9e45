package train

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// shortestDeadline is how long a rank waits for the others at least.
	shortestDeadline = 5 * time.Second
	// deadlineFactor: it waits so many times as long as it took itself since they last met. The ranks share the work
	// evenly, so in the middle of a training that is as many steps.
	deadlineFactor = 5
	// firstPatience with the first steps of a process that is new: code is compiled, memory is faulted in.
	firstPatience = 30 * time.Second
	firstSteps    = 2
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
	met := l.met
	err := l.watch(floor, func(waited time.Duration) time.Duration {
		return max(floor, deadlineFactor*(l.Now().Sub(met)-waited))
	}, f)
	l.met = l.Now()
	return err
}

// transfer calls f, which sends the state of one rank to the others: piece by piece, and the deadline is that of a piece. To this
// rank's next deadline its time counts as time of its own: who got the state may take as long to put it in place.
func (l *Loop) transfer(f func() error) error {
	return l.watch(shortestDeadline, func(time.Duration) time.Duration { return shortestDeadline }, f)
}

// watch calls f, and has the group aborted when this rank has waited for others as long as limit says, which is never less
// than floor.
func (l *Loop) watch(floor time.Duration, limit func(waited time.Duration) time.Duration, f func() error) error {
	var late atomic.Int64 // what was waited when it was too long
	group := l.gen.Group
	done := make(chan struct{})
	timer := time.AfterFunc(floor, func() {
		for {
			if waited := group.Waiting(); waited > 0 && waited >= limit(waited) {
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
	l.hung = time.Duration(late.Load())
	if waited := l.hung; err != nil && waited > 0 && !IsPermanent(err) {
		return hang{waited, err}
	}
	return err
}
