package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrRefused: this node has no such rank for the one who asks.
var ErrRefused = errors.New("refused")

// Peer is a node that has ranks in a group.
type Peer struct {
	Node    string // identity
	Address string // host:port of its agent
}

// Member is a rank of this node.
type Member struct {
	Engine string // identity of its task
	Group  Group  // it was told to be in
	Rank   int32
	Peers  []Peer // the other nodes of the group
}

// Announced are the addresses that the ranks of this node listen on.
type Announced map[netip.AddrPort]Member

// Admit says whether a node may connect with an address for a group. An announcement alone is not enough, for the member may have been
// told to be in another group since. The error matches ErrRefused.
func Admit(members []Member, announced Announced, node string, g Group, to netip.AddrPort) error {
	rank, ok := announced[to]
	if !ok || rank.Group != g {
		return fmt.Errorf("%w: no rank of generation %d listens on %v here", ErrRefused, g.Generation, to)
	}
	for _, m := range members {
		if m.Engine != rank.Engine || m.Group != g {
			continue
		}
		if slices.ContainsFunc(m.Peers, func(p Peer) bool { return p.Node == node }) {
			return nil
		}
		return fmt.Errorf("%w: node %s has no rank in generation %d of this group", ErrRefused, node, g.Generation)
	}
	return fmt.Errorf("%w: generation %d is over", ErrRefused, g.Generation)
}

// peer is the node of that identity in the group; false: it has no rank there.
func (m Member) peer(node string) (Peer, bool) {
	for _, p := range m.Peers {
		if p.Node == node {
			return p, true
		}
	}
	return Peer{}, false
}
