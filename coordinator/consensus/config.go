package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"

	"tandem.dev/coordinator/state"
)

// ErrNotLeader says that this node does not lead; nothing was proposed.
var ErrNotLeader = errors.New("this coordinator is not the leader")

// ErrNoLeader says that no leader was found in time; nothing was proposed.
var ErrNoLeader = errors.New("the coordinators have no leader: check that a majority of them is up and can reach each other, then try again")

// ErrDisk says that the disk under the data folder of this coordinator takes no writes; nothing was proposed, unless it is an ErrUncertain too.
var ErrDisk = errors.New("the disk under the data folder of this coordinator takes no writes")

// ErrUncertain says that a command may or may not have been applied.
var ErrUncertain = errors.New("the outcome is not known: look at the state before trying again, or use a request id")

// ErrInvalid says that a command cannot be applied whatever the state: it is too large, or has something in it that this
// version does not know. Nothing was proposed.
var ErrInvalid = errors.New("the command is not valid")

// Config is what a Node is told at its start.
type Config struct {
	// ID is the node's identity; it must stay the same for a data folder.
	ID string
	// Address is the host:port others reach the node by.
	Address string
	// Dir is the folder of log, votes and snapshots; it is made if it does not exist.
	Dir string
	// Bootstrap begins a new cluster of this node alone, if the folder is empty.
	Bootstrap bool
	// Member says that the node has had a log: an empty folder is an error then.
	Member bool
	// Heartbeat is how long a follower waits for its leader before it stands for election. 500 ms suits most networks, 250 ms a fast LAN.
	Heartbeat time.Duration
	// DiskTimeout is how long a write of the log may take before the process ends.
	DiskTimeout time.Duration
	// Patience is how long after the last leader was lost Propose and View look for a new one, when the caller's context does not
	// end before. Elections are over long before; a node that is cut off answers at once from then on.
	Patience time.Duration
	// SnapshotThreshold is how many entries are applied between snapshots.
	SnapshotThreshold uint64
	// SnapshotInterval is how often it is checked.
	SnapshotInterval time.Duration
	// TrailingLogs is how many entries stay in the log after a snapshot, for followers that lag.
	TrailingLogs uint64
}

// DefaultConfig returns the defaults; ID, Address and Dir are the caller's.
func DefaultConfig() Config {
	return Config{
		Heartbeat:         500 * time.Millisecond,
		DiskTimeout:       time.Second,
		Patience:          5 * time.Second,
		SnapshotThreshold: 8192,
		SnapshotInterval:  2 * time.Minute,
		TrailingLogs:      10240,
	}
}

// Validate says what is wrong.
func (c Config) Validate() error {
	switch {
	case c.ID == "":
		return errors.New("consensus: ID is empty")
	case c.Address == "":
		return errors.New("consensus: Address is empty")
	case c.Heartbeat < 10*time.Millisecond:
		return fmt.Errorf("consensus: Heartbeat is %s, it must be at least 10ms", c.Heartbeat)
	case c.DiskTimeout <= 0 || c.Patience <= 0 || c.SnapshotInterval <= 0:
		return errors.New("consensus: DiskTimeout, Patience and SnapshotInterval must be greater than 0")
	case c.SnapshotThreshold == 0:
		return errors.New("consensus: SnapshotThreshold must be greater than 0")
	}
	return nil
}

// Forwarder calls the leader's PeerService. An error that wraps ErrNotLeader says that nothing was proposed there;
// any other leaves open whether the command was proposed.
type Forwarder interface {
	// Propose asks the coordinator at address to propose a command as its leader.
	Propose(ctx context.Context, address string, cmd *tandemv1.Command) (*tandemv1.Result, error)
	// ReadIndex asks the coordinator at address for an index that a linearizable read must have applied.
	ReadIndex(ctx context.Context, address string) (uint64, error)
}

// Deps is what a Node works with.
type Deps struct {
	// State is written by the node and read by everyone.
	State *state.State
	// StreamLayer connects the peers. Either it or Transport is set.
	StreamLayer raft.StreamLayer
	// Transport takes the place of StreamLayer in tests.
	Transport wire
	// Stores take the place of Config.Dir in tests.
	Stores *Stores
	// Forward reaches the leader.
	Forward Forwarder
	// Committed is told how long each command took that this node proposed as leader, until it was applied; nil: nobody asks.
	Committed func(time.Duration)
	// Log is where the node writes what an operator wants to know.
	Log zerolog.Logger
	// Fatal ends the process; the node cannot go on. It may return only in tests.
	Fatal func(error)
}

// Stores are where Raft keeps what must survive the process.
type Stores struct {
	// Logs holds the log.
	Logs raft.LogStore
	// Stable holds term and vote.
	Stable raft.StableStore
	// Snapshots holds the snapshots.
	Snapshots raft.SnapshotStore
}

// Peer is one member of the Raft cluster.
type Peer struct {
	// ID is its identity.
	ID string
	// Address is its host:port.
	Address string
	// Voter says that it has a vote; a learner has none.
	Voter bool
	// Leader says that it leads, as far as this node knows.
	Leader bool
}
