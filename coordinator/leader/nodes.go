package leader

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Liveness is what is heard of nodes beside the state.
type Liveness interface {
	// Gossiping tells which nodes gossip holds for alive.
	Gossiping() map[string]bool
	// Heard is when the agent of a node was last heard of by any coordinator; zero if never.
	Heard(node string, now time.Time) time.Time
}

const nodesTick = time.Second

// Nodes marks nodes as lost of which nothing was heard for timeout. A new leader waits as long before it believes that.
func Nodes(s *state.State, p Proposer, l Liveness, timeout time.Duration, log zerolog.Logger) Loop {
	const name = "nodes"
	return Loop{name, func(ctx context.Context) error {
		since := time.Now()
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			for _, n := range Lost(v, now, since, timeout, l) {
				log.Warn().Str("node", n.GetId()).Str("name", n.GetName()).Msg("node lost")
				res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_LoseNode{
					LoseNode: &tandemv1.LoseNode{NodeId: n.GetId(), Incarnation: n.GetIncarnation()},
				}})
				if err != nil {
					return time.Time{}, err
				}
				if err := awaitApplied(ctx, s, res); err != nil {
					return time.Time{}, err
				}
			}
			return now.Add(nodesTick), nil
		})
	}}
}

// Lost decides which nodes are lost: gossip does not hold them for alive, and neither their agents were heard of nor
// their state changed within timeout before now. Nothing is known of the time before since, when this leader began.
func Lost(v *state.View, now, since time.Time, timeout time.Duration, l Liveness) []*tandemv1.Node {
	alive := l.Gossiping()
	var lost []*tandemv1.Node
	for _, n := range v.Nodes() {
		if n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE || alive[n.GetId()] {
			continue
		}
		last := since
		for _, t := range []time.Time{l.Heard(n.GetId(), now), n.GetStateChangedAt().AsTime()} {
			if t.After(last) {
				last = t
			}
		}
		if now.Sub(last) >= timeout {
			lost = append(lost, n)
		}
	}
	return lost
}
