package consensus

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// observed is what Raft has told of leader and peers.
type observed struct {
	mu         sync.Mutex
	leaderless time.Time            // since when no leader is known; zero: one is
	silent     map[string]time.Time // peers that do not answer the heartbeats of this node, which leads, and since when
	answered   map[string]uint64    // by peer, the newest term of this node whose messages it has answered
}

// Contact is what a leader knows of a peer from its heartbeats. A fresh leader knows nothing until the peer has answered or failed to.
type Contact struct {
	// Answered says that the peer has answered since this node leads.
	Answered bool
	// Silent is since when it does not answer; zero: it does, or nothing is known yet.
	Silent time.Time
}

// Answers says whether the peer is known to answer now.
func (c Contact) Answers() bool { return c.Answered && c.Silent.IsZero() }

// wire is what Raft needs to reach its peers.
type wire interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// heardWire tells who has answered: Raft's observations tell of failures only, and of what follows them.
type heardWire struct {
	wire
	seen *observed
}

// AppendEntries implements raft.Transport. Heartbeats are sent by it, whatever else is under way.
func (h heardWire) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	err := h.wire.AppendEntries(id, target, args, resp)
	if err == nil {
		h.seen.answer(string(id), args.Term)
	}
	return err
}

// shortestPatience is how long a call waits at least that comes when there has been no leader for a while.
const shortestPatience = 200 * time.Millisecond

// observe follows Raft until ctx ends.
func (n *Node) observe(ctx context.Context) {
	seen := make(chan raft.Observation, 256)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.FailedHeartbeatObservation, raft.ResumedHeartbeatObservation, raft.PeerObservation:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-seen:
			n.seen.take(o.Data, n.cfg.ID, time.Now())
		}
	}
}

// take follows one observation of the node self.
func (o *observed) take(data any, self string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch d := data.(type) {
	case raft.LeaderObservation:
		if d.LeaderID == "" {
			o.leaderless = now
		} else {
			o.leaderless = time.Time{}
		}
		if string(d.LeaderID) != self {
			o.silent = nil // who leads is asked
		}
	case raft.FailedHeartbeatObservation:
		if o.silent == nil {
			o.silent = map[string]time.Time{}
		}
		if _, known := o.silent[string(d.PeerID)]; !known {
			o.silent[string(d.PeerID)] = now
		}
	case raft.ResumedHeartbeatObservation:
		delete(o.silent, string(d.PeerID))
	case raft.PeerObservation:
		if d.Removed {
			delete(o.silent, string(d.Peer.ID))
		}
	}
}

// answer notes that a peer has answered a message of a term.
func (o *observed) answer(peer string, term uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answered == nil {
		o.answered = map[string]uint64{}
	}
	o.answered[peer] = max(o.answered[peer], term)
}

// Contact returns what this node knows of a peer since it leads; one that does not lead knows nothing.
func (n *Node) Contact(peer string) Contact {
	if !n.IsLeader() {
		return Contact{}
	}
	term := n.Term()
	n.seen.mu.Lock()
	defer n.seen.mu.Unlock()
	return Contact{Answered: n.seen.answered[peer] == term, Silent: n.seen.silent[peer]}
}

// Standing is how far a node's log is.
type Standing struct {
	Last, Committed, Snapshot uint64 // indices of the newest entry in the log, on a majority, and in a snapshot (0: there is none)
	SnapshotBytes             int64
	Silence                   time.Duration // since a leader was heard of, or the node started; 0 on the leader
}

// Standing looks at the log and at the newest snapshot on the disk; what cannot be read is 0.
func (n *Node) Standing() Standing {
	s := Standing{Last: n.raft.LastIndex(), Committed: n.raft.CommitIndex()}
	if newest, err := n.snapshots.List(); err == nil && len(newest) > 0 {
		s.Snapshot, s.SnapshotBytes = newest[0].Index, newest[0].Size
	}
	if !n.IsLeader() {
		heard := n.raft.LastContact()
		if heard.Before(n.started) {
			heard = n.started
		}
		s.Silence = time.Since(heard)
	}
	return s
}

// patience is the time that a call has to find a leader: Config.Patience, counted from when the last one was lost. A node that
// has been cut off for longer keeps nobody waiting who could ask another one.
func (n *Node) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	n.seen.mu.Lock()
	since := n.seen.leaderless
	n.seen.mu.Unlock()
	wait := n.cfg.Patience
	if !since.IsZero() {
		wait = max(shortestPatience, wait-time.Since(since))
	}
	return context.WithTimeout(ctx, wait)
}
