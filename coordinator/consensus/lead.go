package consensus

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// IsLeader says whether this node believes it leads. Only ReadIndexLocal knows.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader returns id and address of the leader as far as this node knows; empty if it knows none.
func (n *Node) Leader() (id, address string) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a)
}

// Disk is an ErrDisk while nothing can be written here and this coordinator waits for that.
func (n *Node) Disk() error {
	if why := n.stall.Load(); why != nil {
		return *why
	}
	return nil
}

// alone says whether this node leads, has everything of earlier terms, and is the only voter: then nobody else can have led since.
func (n *Node) alone() bool {
	n.mu.Lock()
	lead := n.lead
	n.mu.Unlock()
	peers := slices.DeleteFunc(n.Peers(), func(p Peer) bool { return !p.Voter })
	return lead != nil && lead.Err() == nil && len(peers) == 1
}

// Term returns the current term of Raft.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// AppliedIndex returns the index of the last command applied on this node.
func (n *Node) AppliedIndex() uint64 { return n.state.Index() }

// Lead calls fn each time this node becomes leader, once the state has everything of earlier terms, with a context
// that ends when it leads no more. It returns nil when ctx ends, or the error that fn returned while it was leading.
func (n *Node) Lead(ctx context.Context, fn func(ctx context.Context) error) error {
	var last context.Context
	for {
		n.mu.Lock()
		lead, changed := n.lead, n.leads
		n.mu.Unlock()
		if lead == nil || lead == last {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			}
			continue
		}
		last = lead
		if err := leadOnce(ctx, lead, fn); err != nil {
			return err
		}
	}
}

func leadOnce(ctx, lead context.Context, fn func(ctx context.Context) error) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(lead, cancel)()
	if err := fn(both); err != nil && both.Err() == nil {
		return err
	}
	return nil
}

// watchLeadership keeps n.lead until ctx ends.
func (n *Node) watchLeadership(ctx context.Context) {
	var none context.Context
	cancel := context.CancelFunc(func() {})
	for {
		select {
		case <-ctx.Done():
			cancel()
			n.setLead(none)
			return
		case leads := <-n.raft.LeaderCh():
			// Raft keeps only the newest signal: two gains in a row mean a loss between them.
			cancel()
			n.setLead(none)
			if !leads {
				n.log.Info().Uint64("term", n.Term()).Msg("leadership lost")
				continue
			}
			if err := n.barrier(ctx, n.Term()); err != nil {
				n.log.Warn().Err(err).Msg("leadership lost before it began")
				continue
			}
			var lead context.Context
			lead, cancel = context.WithCancel(ctx)
			n.setLead(lead)
			n.log.Info().Uint64("term", n.Term()).Uint64("index", n.state.Index()).Msg("leadership gained")
			n.healAddress()
		}
	}
}

// setLead notes the leadership held now, nil for none, and wakes those that wait for it.
func (n *Node) setLead(lead context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lead = lead
	close(n.leads)
	n.leads = make(chan struct{})
}

// barrier returns when everything of the terms before term is applied on this node, which must lead, or when ctx ends.
func (n *Node) barrier(ctx context.Context, term uint64) error {
	if n.barrierTerm.Load() == term {
		return nil
	}
	if err := n.await(ctx, func() raft.Future { return n.raft.Barrier(0) }); err != nil {
		return fmt.Errorf("apply what earlier leaders committed: %w", err)
	}
	n.barrierTerm.Store(term)
	return nil
}

// healAddress tells the cluster where this node is, when its address has changed since the last start.
func (n *Node) healAddress() {
	for _, p := range n.Peers() {
		if p.ID != n.cfg.ID || p.Address == n.cfg.Address {
			continue
		}
		if err := n.raft.AddVoter(raft.ServerID(n.cfg.ID), raft.ServerAddress(n.cfg.Address), 0, 0).Error(); err != nil {
			n.log.Warn().Err(err).Str("address", n.cfg.Address).Msg("new address was not recorded")
		}
	}
}
