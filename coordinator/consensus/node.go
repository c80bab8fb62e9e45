package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/repeat"
)

const (
	logFile           = "raft.db"
	logCacheEntries   = 512
	retainedSnapshots = 2
	// commitTimeout is how late a follower may hear of a commit when nothing else is sent.
	commitTimeout = 25 * time.Millisecond
	rpcTimeout    = 5 * time.Second
	openTimeout   = 2 * time.Second
	// lastAnswers is how long a stopping node waits for what it has asked Raft: a leader without a majority steps down long before.
	lastAnswers = 3 * time.Second
)

// Node is one coordinator's part in Raft. Its methods may be called from any goroutine.
type Node struct {
	cfg     Config
	raft    *raft.Raft
	state   *state.State
	forward Forwarder
	// snapshots are where they lie.
	snapshots raft.SnapshotStore
	committed func(time.Duration)
	log       zerolog.Logger
	closers   []io.Closer

	started  time.Time
	stopping chan struct{}         // closed when it is to stop
	stall    atomic.Pointer[error] // see guard

	seen observed
	asks asks

	barrierTerm atomic.Uint64 // last term in which everything of earlier terms is known to be applied here

	mu    sync.Mutex
	holds bool            // the folder held a log at the start
	lead  context.Context // of the leadership held now; nil if none
	leads chan struct{}   // closed and replaced when lead changes
}

// New opens the folder and joins Raft. Run must be called, or the node never lets go of it.
func New(cfg Config, deps Deps) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.State == nil || deps.Forward == nil || deps.Fatal == nil || (deps.StreamLayer == nil) == (deps.Transport == nil) {
		return nil, errors.New("consensus: State, Forward, Fatal and one of StreamLayer and Transport must be set")
	}
	n := &Node{cfg: cfg, state: deps.State, forward: deps.Forward, committed: deps.Committed, log: deps.Log, leads: make(chan struct{}), started: time.Now(), stopping: make(chan struct{})}
	n.seen.leaderless = time.Now()
	if err := n.openSafely(deps); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// openSafely is open, except that a damaged log is an error: bbolt and Raft panic over one, or read memory that does not exist.
func (n *Node) openSafely(deps Deps) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = n.damaged(fmt.Errorf("%v", p))
		}
	}()
	return n.open(deps)
}

// damaged says what to do about a log that cannot be read.
func (n *Node) damaged(err error) error {
	return fmt.Errorf("the log %s is damaged: %w; %s", n.logPath(), err, Remedy(n.cfg.ID))
}

// Remedy is what to do with a coordinator that has lost what it must not forget.
func Remedy(id string) string {
	return fmt.Sprintf("if other coordinators are up, take this one out with \"tandem cluster remove-peer %s\", empty its data folder "+
		"and join with a new token (tandem token create --join --role coordinator); "+
		"if it is the only one, put back a copy of its data folder", id)
}

func (n *Node) logPath() string { return filepath.Join(n.cfg.Dir, logFile) }

func (n *Node) open(deps Deps) error {
	running := &atomic.Pointer[raft.Raft]{}
	logger := &raftLog{to: deps.Log, repeats: &repeat.Limiter{}, address: addresses(running)}
	stores := deps.Stores
	if stores == nil {
		var err error
		if stores, err = n.openDir(logger); err != nil {
			return err
		}
	}
	n.snapshots = stores.Snapshots
	if err := n.inspect(stores); err != nil {
		return err
	}
	transport := deps.Transport
	if transport == nil {
		transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: deps.StreamLayer, MaxPool: 3, Timeout: rpcTimeout, Logger: logger,
		})
	}
	cfg := n.raftConfig(logger)
	if n.cfg.Bootstrap {
		if err := n.bootstrap(cfg, stores, transport); err != nil {
			return err
		}
	}
	g := guard{limit: n.cfg.DiskTimeout, fatal: deps.Fatal, raft: running, stop: n.stopping, stall: &n.stall, log: deps.Log}
	logs, err := raft.NewLogCache(logCacheEntries, guardedLogs{LogStore: stores.Logs, guard: g})
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft, err = raft.NewRaft(cfg, fsm.New(n.state, deps.Fatal), logs,
		guardedStable{StableStore: stores.Stable, guard: g}, stores.Snapshots, heardWire{transport, &n.seen})
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	running.Store(n.raft)
	return nil
}

// inspect looks at what is in the folder before Raft does: a node that has forgotten what it said would vote others into forgetting it too.
// So a snapshot does not stand in for the log, which has the votes.
func (n *Node) inspect(stores *Stores) (err error) {
	if n.holds, err = raft.HasExistingState(stores.Logs, stores.Stable, raft.NewDiscardSnapshotStore()); err != nil {
		return fmt.Errorf("read the data folder: %w", err)
	}
	kept, err := stores.Snapshots.List()
	if err != nil {
		return fmt.Errorf("read the snapshots: %w", err)
	}
	if (n.cfg.Member || len(kept) > 0) && !n.holds {
		return n.damaged(errors.New("it is empty, and this coordinator has had one"))
	}
	logs, ok := stores.Logs.(checkedLogs)
	if !ok {
		return nil
	}
	after, broken := n.restorable(kept)
	switch err := logs.verify(after); {
	case err != nil && broken != nil:
		return n.damaged(fmt.Errorf("%w; %w", err, broken))
	case err != nil:
		return n.damaged(err)
	case after == 0 && broken != nil: // Raft begins with none of several that it has only when it has none
		return n.damaged(broken)
	}
	return nil
}

// restorable is the index of the snapshot that Raft will begin with: the newest that is whole. broken says what is wrong with the newest,
// if that is another.
func (n *Node) restorable(kept []*raft.SnapshotMeta) (index uint64, broken error) {
	for _, meta := range kept {
		_, body, err := n.snapshots.Open(meta.ID)
		if err == nil {
			_ = body.Close() // only its checksum was wanted
			return meta.Index, broken
		}
		if broken == nil {
			broken = fmt.Errorf("the snapshot %s cannot be read: %w", filepath.Join(n.cfg.Dir, "snapshots", meta.ID), err)
		}
	}
	return 0, broken
}

// Holds tells whether the folder held a log when the node began.
func (n *Node) Holds() bool { return n.holds }

func (n *Node) openDir(logger *raftLog) (*Stores, error) {
	if err := os.MkdirAll(n.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	path := n.logPath()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: openTimeout}, MsgpackUseNewTimeFormat: true})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("open the log %s: another process uses it; stop that coordinator or choose another data folder", path)
	}
	if errno := syscall.Errno(0); err != nil && !errors.As(err, &errno) {
		return nil, n.damaged(err) // not the system says no, but who reads the file
	}
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w; check that the folder can be written and the disk is not full", path, err)
	}
	n.closers = append(n.closers, bolt)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.Dir, retainedSnapshots, logger)
	if err != nil {
		return nil, fmt.Errorf("open the snapshots in %s: %w; check that the folder can be written and the disk is not full", n.cfg.Dir, err)
	}
	return &Stores{Logs: checkedLogs{bolt}, Stable: bolt, Snapshots: snapshots}, nil
}

func (n *Node) raftConfig(logger *raftLog) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ID)
	c.HeartbeatTimeout = n.cfg.Heartbeat
	c.ElectionTimeout = n.cfg.Heartbeat
	c.LeaderLeaseTimeout = n.cfg.Heartbeat / 2
	c.CommitTimeout = min(commitTimeout, n.cfg.Heartbeat/10)
	c.BatchApplyCh = true
	c.SnapshotThreshold = n.cfg.SnapshotThreshold
	c.SnapshotInterval = n.cfg.SnapshotInterval
	c.TrailingLogs = n.cfg.TrailingLogs
	c.ShutdownOnRemove = false // a removed coordinator stays a follower until its operator stops it
	c.Logger = logger
	return c
}

func (n *Node) bootstrap(cfg *raft.Config, stores *Stores, transport raft.Transport) error {
	if n.holds {
		return nil
	}
	first := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(n.cfg.ID), Address: raft.ServerAddress(n.cfg.Address),
	}}}
	if err := raft.BootstrapCluster(cfg, stores.Logs, stores.Stable, stores.Snapshots, transport, first); err != nil {
		return fmt.Errorf("begin a new cluster: %w", err)
	}
	return nil
}

// Run keeps the node in Raft until ctx ends, then hands leadership over and closes the folder.
func (n *Node) Run(ctx context.Context) error {
	watched := make(chan struct{})
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(watched)
		var wg sync.WaitGroup
		wg.Go(func() { n.observe(watch) })
		n.watchLeadership(watch)
		wg.Wait()
	}()
	<-ctx.Done()
	close(n.stopping)
	if n.IsLeader() && n.otherVoters() {
		if err := n.raft.LeadershipTransfer().Error(); err != nil {
			n.log.Warn().Err(err).Msg("leadership was not handed over")
		}
	}
	select {
	case <-n.asks.close():
	case <-time.After(lastAnswers):
		n.log.Warn().Msg("raft has not answered all that it was asked; it is stopped all the same")
	}
	err := n.raft.Shutdown().Error()
	stop()
	<-watched
	if err != nil {
		err = fmt.Errorf("stop raft: %w", err)
	}
	return errors.Join(err, n.close())
}

func (n *Node) close() error {
	var errs []error
	for _, c := range n.closers {
		errs = append(errs, c.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}
