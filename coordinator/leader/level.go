package leader

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// levelTick is how often it is looked who votes: Raft's membership is not part of the state.
const levelTick = 5 * time.Second

// Level raises the feature level of the cluster when all voters know the next.
func Level(s *state.State, p Proposer, peers func() []consensus.Peer, log zerolog.Logger) Loop {
	const name = "level"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			next, ok := NextLevel(v, peers(), schema.Known)
			if !ok {
				return now.Add(levelTick), nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_RaiseLevel{RaiseLevel: &tandemv1.RaiseLevel{Level: next}}})
			if err != nil {
				return time.Time{}, err
			}
			log.Info().Int32("feature_level", next).Msg("feature level of the cluster raised")
			return now.Add(levelTick), awaitApplied(ctx, s, res)
		})
	}}
}

// NextLevel decides whether the cluster's feature level can be raised: the next one is known to this program and to all voters.
func NextLevel(v *state.View, peers []consensus.Peer, known int) (int32, bool) {
	next := v.Level() + 1
	if _, founded := v.Cluster(); !founded || next > known || len(peers) == 0 || len(consensus.Behind(v, peers, next)) > 0 {
		return 0, false
	}
	return int32(next), true //nolint:gosec // one a release
}
