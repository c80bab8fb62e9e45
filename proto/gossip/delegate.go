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

// events wake the watchers.
type events struct{ g *Gossip }

func (e events) NotifyJoin(*memberlist.Node)   { e.g.wake() }
func (e events) NotifyLeave(*memberlist.Node)  { e.g.wake() }
func (e events) NotifyUpdate(*memberlist.Node) { e.g.wake() }

// lines passes memberlist's own log on. All of it is detail: what matters shows in Members.
type lines struct{ log zerolog.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.Debug().Str("memberlist", string(bytes.TrimSpace(p))).Msg("gossip")
	return len(p), nil
}
