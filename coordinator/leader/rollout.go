package leader

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Rollout brings the replicas of deployments to what is wanted.
func Rollout(s *state.State, p Proposer, log zerolog.Logger) Loop {
	const name = "rollout"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			next := state.TriedAgain(v, now)
			for _, d := range v.Deployments() {
				newID := func() string { return id.New("replica") }
				change, again := Replicas(now, d, v.ReplicasOf(d.GetName()), Places(v, d, now), newID, v.NodeName)
				if !again.IsZero() && (next.IsZero() || again.Before(next)) {
					next = again
				}
				if change == nil {
					continue
				}
				res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ApplyRollout{ApplyRollout: change}})
				if err != nil {
					return next, err
				}
				log.Info().Str("model", d.GetName()).Int64("revision", d.GetRevision()).Int("place", len(change.GetPlace())).
					Int("remove", len(change.GetRemove())).Str("refused", say.Reason(res.GetWhy(), say.Plain)).Msg("replicas change")
				if err := settle(ctx, s, res); err != nil {
					return next, err
				}
				if anyRefused(res) {
					rest(ctx, time.Second)
				}
				v = s.View()
			}
			return next, nil
		})
	}}
}

// Places are where replicas of a deployment may be and the slots that are free there.
func Places(v *state.View, d *tandemv1.Deployment, now time.Time) []Place {
	var places []Place
	for _, n := range v.Nodes() {
		if n.GetPool() != d.GetPool() || n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
			continue
		}
		p := Place{Node: n.GetId()}
		if unavailable(n, now) == "" {
			held := state.UsageOf(v, n.GetId())
			for _, s := range n.GetSlots() {
				if held[s.GetId()] == "" {
					p.Free = append(p.Free, s.GetId())
				}
			}
		}
		places = append(places, p)
	}
	return places
}
