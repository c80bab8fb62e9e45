package consensus

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"
)

// guard watches writes to the disk that fail or hang. A leader with such a disk would otherwise keep its office by heartbeats, which need
// no disk, and the whole cluster would stand still: where the others can go on without it, it ends the process. Where they cannot, ending
// helps nobody: then it waits for what waiting may heal, a disk that hangs or is full. A follower waits for a disk that hangs, too: it
// holds nobody up.
type guard struct {
	limit time.Duration
	fatal func(error)
	raft  *atomic.Pointer[raft.Raft] // who votes; set when Raft runs
	stop  <-chan struct{}            // closed when the node is to stop
	stall *atomic.Pointer[error]     // why nothing can be written now, an ErrDisk; nil: it can
	log   zerolog.Logger
}

const (
	// fullPause is the time between two tries to write to a full disk.
	fullPause = time.Second
	// standsEvery is how often it is said that the cluster stands for it.
	standsEvery = time.Minute
	// turns is in how many parts it is waited until a write hangs.
	turns = 20
)

func (g guard) watch(act string, write func() error) error {
	for said := (time.Time{}); ; {
		err := g.once(act, write)
		if err == nil {
			g.stall.Store(nil)
			return nil
		}
		full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
		if g.needed() && full && g.wait(fmt.Errorf("%w, and the cluster stands until it does: %w; free some", ErrDisk, err)) {
			if time.Since(said) >= standsEvery {
				said = time.Now()
				g.log.Error().Err(err).Str("act", act).Msg("the disk under the data folder is full: the cluster stands until there is room, for the others have no majority without this coordinator; free some")
			}
			continue
		}
		why := "this coordinator ends so that the others go on"
		if g.needed() {
			why = "this coordinator ends, and the cluster stands without it"
		}
		err = fmt.Errorf("%s: %w; %s; free or repair the disk under the data folder, then start it again", act, err, why)
		g.fatal(err)
		return err
	}
}

// once writes, and does not wait for a disk that hangs if this coordinator leads and the others can go on without it.
func (g guard) once(act string, write func() error) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		if hangs(done, g.limit, time.After) {
			g.hung(act)
		}
	}()
	return write()
}

// hangs waits until a write is done, or has not come back within limit; then it is true. A process that was stopped or gets no processor
// waits longer, so that it does not take this for a fault of its disk: each turn counts once, however late it ends.
func hangs(done <-chan struct{}, limit time.Duration, after func(time.Duration) <-chan time.Time) bool {
	for range turns {
		select {
		case <-done:
			return false
		case <-after(limit / turns):
		}
	}
	return true
}

// hung says that a write hangs, or ends the process for it.
func (g guard) hung(act string) {
	const what = "the disk under the data folder hangs or is overloaded"
	said := g.log.Error().Str("act", act).Dur("limit", g.limit)
	switch {
	case g.needed():
		g.stalls(fmt.Errorf("%w, and the cluster stands until it does: it hangs or is overloaded", ErrDisk))
		said.Msg(what + ": the cluster stands until it works, for the others have no majority without this coordinator")
	case g.follows(): // nor can it lead before: Raft waits for the write
		g.stalls(fmt.Errorf("%w: it hangs or is overloaded; ask another coordinator", ErrDisk))
		said.Msg(what + ": this coordinator waits until it works; the others go on")
	default:
		g.fatal(fmt.Errorf("%s has taken more than %s: %s; this coordinator ends so that the others go on; start it again when the disk works", act, g.limit, what))
	}
}

func (g guard) follows() bool {
	r := g.raft.Load()
	return r != nil && r.State() != raft.Leader
}

// stalls notes why nothing can be written.
func (g guard) stalls(why error) { g.stall.Store(&why) }

// needed says whether the other voters have no majority without this coordinator: there are fewer than three.
func (g guard) needed() bool {
	r := g.raft.Load()
	for end := time.Now().Add(g.limit); r == nil && time.Now().Before(end); r = g.raft.Load() {
		time.Sleep(time.Millisecond) // Raft writes before its start has returned
	}
	if r == nil {
		return false
	}
	servers := r.GetConfiguration()
	if servers.Error() != nil {
		return false // Raft has stopped
	}
	voters := 0
	for _, s := range servers.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters < 3
}

// wait notes why nothing can be written, and waits before the next try; false: the node is to stop.
func (g guard) wait(why error) bool {
	g.stalls(why)
	select {
	case <-g.stop:
		return false
	case <-time.After(fullPause):
		return true
	}
}

// guardedLogs is a log store whose writes are watched.
type guardedLogs struct {
	raft.LogStore
	guard
}

func (s guardedLogs) StoreLog(l *raft.Log) error {
	return s.watch("write a log entry", func() error { return s.LogStore.StoreLog(l) })
}

func (s guardedLogs) StoreLogs(l []*raft.Log) error {
	return s.watch("write log entries", func() error { return s.LogStore.StoreLogs(l) })
}

// guardedStable is a store of term and vote whose writes are watched.
type guardedStable struct {
	raft.StableStore
	guard
}

func (s guardedStable) Set(key, value []byte) error {
	return s.watch("write the vote", func() error { return s.StableStore.Set(key, value) })
}

func (s guardedStable) SetUint64(key []byte, value uint64) error {
	return s.watch("write the term", func() error { return s.StableStore.SetUint64(key, value) })
}
