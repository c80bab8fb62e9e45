package engine

import (
	"sync"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/elastic"
)

// mailbox keeps the newest orders until somebody takes them, and passes each change on from then on.
type mailbox struct {
	mu     sync.Mutex
	orders elastic.Orders
	take   func(elastic.Orders)
}

// put takes one command of the agent.
func (m *mailbox) put(c *tandemv1.ControlResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orders = follow(m.orders, c)
	if m.take != nil {
		m.take(m.orders)
	}
}

// subscribe calls take with the orders there are, and at each change.
func (m *mailbox) subscribe(take func(elastic.Orders)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take = take
	take(m.orders)
}

// follow returns the orders after a command.
func follow(o elastic.Orders, c *tandemv1.ControlResponse) elastic.Orders {
	switch command := c.GetCommand().(type) {
	case *tandemv1.ControlResponse_Group:
		g := command.Group
		o.Broken = o.Broken && g.GetGeneration() == o.Group.Generation
		o.Group = elastic.Group{
			Generation: g.GetGeneration(), Rank: int(g.GetRank()), World: int(g.GetWorldSize()),
			LocalRank: int(g.GetLocalRank()), Planned: g.GetPlanned(), Formed: g.GetFormed(), Relay: g.GetRelay(),
			Peers: peersOf(g.GetPeers()), Listen: g.GetBindHost(),
		}
	case *tandemv1.ControlResponse_Break:
		o.Broken = o.Broken || command.Break.GetGeneration() == o.Group.Generation
	case *tandemv1.ControlResponse_Stop:
		o.Stop = true
	}
	return o
}

func peersOf(nodes []*tandemv1.PeerNode) []elastic.Peer {
	var peers []elastic.Peer
	for _, p := range nodes {
		peers = append(peers, elastic.Peer{Node: p.GetNodeId(), Name: p.GetName(), Address: p.GetAddress(), Engine: p.GetEngineAddress()})
	}
	return peers
}
