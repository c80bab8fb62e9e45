package gossip

import (
	"bytes"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
)

// delegate says who this node is; nothing else is gossiped.
type delegate []byte

func (d delegate) NodeMeta(int) []byte               { return d }
func (d delegate) NotifyMsg([]byte)                  {}
func (d delegate) GetBroadcasts(int, int) [][]byte   { return nil }
func (d delegate) LocalState(bool) []byte            { return nil }
func (d delegate) MergeRemoteState(_ []byte, _ bool) {}

// events keep the members as they are told of, and wake the watchers. Nodes may be looked at only while memberlist tells of them, when it
// holds its lock: what Memberlist.Members returns is changed at any time.
type events struct{ g *Gossip }

func (e events) NotifyJoin(n *memberlist.Node)   { e.g.learn(n) }
func (e events) NotifyUpdate(n *memberlist.Node) { e.g.learn(n) }
func (e events) NotifyLeave(n *memberlist.Node)  { e.g.forget(n.Name) }

// lines passes memberlist's own log on. All of it is detail: what matters shows in Members.
type lines struct{ log zerolog.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.Debug().Str("memberlist", string(bytes.TrimSpace(p))).Msg("gossip")
	return len(p), nil
}
