package consensus

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// Peers returns the members of the Raft cluster as this node knows them.
func (n *Node) Peers() []Peer {
	future := n.raft.GetConfiguration()
	if future.Error() != nil {
		return nil // only when Raft has stopped
	}
	leader, _ := n.Leader()
	var peers []Peer
	for _, s := range future.Configuration().Servers {
		peers = append(peers, Peer{
			ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader,
		})
	}
	return peers
}

// AddLearner has a coordinator sent the log, without a vote; a voter only gets a new address. Only the leader can:
// ErrNotLeader.
func (n *Node) AddLearner(ctx context.Context, id, address string) error {
	err := n.await(ctx, func() raft.Future {
		return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, enqueueTimeout)
	})
	if err != nil {
		return fmt.Errorf("add coordinator %s as learner: %w", id, err)
	}
	return nil
}

// AddPeer makes a coordinator a voter, or gives it a new address. Only the leader can: ErrNotLeader. It should be a learner
// before whose own Peers name it: a voter that does not answer counts against the majority, and one that has seen only the
// beginning of the log refuses its vote to coordinators it does not know; should the leader be lost right then, nobody
// could be elected. The same holds for the moment until the other voters have the new configuration: a leader that is lost in it has to
// come back, for hashicorp/raft refuses a vote to whom its own configuration has as a learner.
func (n *Node) AddPeer(ctx context.Context, id, address string) error {
	err := n.await(ctx, func() raft.Future {
		return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, enqueueTimeout)
	})
	if err != nil {
		return fmt.Errorf("add coordinator %s: %w", id, err)
	}
	return nil
}

// RemovePeer takes a coordinator out. Only the leader can: ErrNotLeader.
func (n *Node) RemovePeer(ctx context.Context, id string) error {
	if err := n.await(ctx, func() raft.Future { return n.raft.RemoveServer(raft.ServerID(id), 0, enqueueTimeout) }); err != nil {
		return fmt.Errorf("remove coordinator %s: %w", id, err)
	}
	return nil
}

// otherVoters says whether another coordinator could lead.
func (n *Node) otherVoters() bool {
	return slices.ContainsFunc(n.Peers(), func(p Peer) bool { return p.Voter && p.ID != n.cfg.ID })
}
