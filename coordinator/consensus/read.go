package consensus

import (
	"context"
	"errors"
	"fmt"

	"tandem.dev/coordinator/state"
)

// View returns a linearizable read: it shows every command whose result was returned anywhere before View was called.
// It looks for a leader until ctx or Config.Patience ends, then fails with ErrNoLeader; with ErrDisk at once.
func (n *Node) View(ctx context.Context) (*state.View, error) {
	patience, cancel := n.patience(ctx)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		index, err := n.readIndex(patience)
		if err == nil {
			if index > 0 {
				err = n.state.Wait(patience, index-1)
			}
			if err == nil {
				return n.state.View(), nil
			}
		}
		if errors.Is(err, ErrDisk) {
			return nil, fmt.Errorf("read: %w", err)
		}
		if sleep(patience, pause) != nil {
			return nil, errors.Join(ctx.Err(), fmt.Errorf("read: %w (last: %w)", ErrNoLeader, err))
		}
	}
}

func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	if n.IsLeader() {
		return n.ReadIndexLocal(ctx)
	}
	if err := n.Disk(); err != nil {
		return 0, err // what is new does not get here
	}
	id, address := n.Leader()
	if address == "" || id == n.cfg.ID {
		return 0, ErrNotLeader
	}
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return n.forward.ReadIndex(attempt, address)
}

// ReadIndexLocal returns an index that a linearizable read must have applied. It asks a majority whether this node
// still leads; ErrNotLeader if not.
func (n *Node) ReadIndexLocal(ctx context.Context) (uint64, error) {
	term := n.Term()
	if !n.IsLeader() {
		return 0, ErrNotLeader
	}
	if err := n.Disk(); err != nil { // Raft asks nobody while it waits for the disk
		if n.alone() {
			return n.state.Index(), nil
		}
		return 0, err
	}
	if err := n.barrier(ctx, term); err != nil {
		return 0, errors.Join(ErrNotLeader, err)
	}
	// Every result this leader has returned is applied here, and so is everything earlier leaders committed. That no
	// later leader has returned one is what the majority says, if the term is still the same afterwards. (Raft counts
	// answers that were under way already; they are younger than the lease, and an election takes longer than that.)
	index := n.state.Index()
	if err := n.await(ctx, n.raft.VerifyLeader); err != nil {
		return 0, errors.Join(ErrNotLeader, err)
	}
	if n.Term() != term {
		return 0, ErrNotLeader
	}
	return index, nil
}
