package consensus

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// observed is what Raft has told of leader and peers.
type observed struct {
	mu         sync.Mutex
	leaderless time.Time            // since when no leader is known; zero: one is
	silent     map[string]time.Time // peers that do not answer the heartbeats of this node, which leads, and since when
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

// Silent returns the peers that do not answer the heartbeats of this node, and since when. Only a leader has any.
func (n *Node) Silent() map[string]time.Time {
	n.seen.mu.Lock()
	defer n.seen.mu.Unlock()
	return maps.Clone(n.seen.silent)
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
