package consensus

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// guard ends the process when a write to the disk fails or hangs. A leader with such a disk would otherwise keep its
// office by heartbeats, which need no disk, and the whole cluster would stand still.
type guard struct {
	limit time.Duration
	fatal func(error)
}

func (g guard) watch(act string, write func() error) error {
	timer := time.AfterFunc(g.limit, func() {
		g.fatal(fmt.Errorf("%s has taken more than %s: the disk under the data folder hangs or is overloaded; this coordinator ends so that the others go on; start it again when the disk works", act, g.limit))
	})
	defer timer.Stop()
	if err := write(); err != nil {
		err = fmt.Errorf("%s: %w; this coordinator ends so that the others go on; free or repair the disk under the data folder, then start it again", act, err)
		g.fatal(err)
		return err
	}
	return nil
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
