package leader

import (
	"context"
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// storeTick is how often it is asked what was found: that is not part of the state.
const storeTick = 5 * time.Second

// Store notes whether the store serves, as the leader finds it. found says what is wrong with it (nil: nothing), and when the look that
// says so began (zero: there was none). What was found before this coordinator led is no news: the one that led then knew better. Only
// another kind of fault is news.
func Store(s *state.State, p Proposer, found func() (fault *tandemv1.Reason, at time.Time)) Loop {
	const name = "store"
	return Loop{name, func(ctx context.Context) error {
		since := time.Now()
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			cluster, founded := v.Cluster()
			fault, at := found()
			if !founded || at.Before(since) || fault.GetCode() == cluster.GetStoreFault().GetCode() {
				return now.Add(storeTick), nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ObserveStore{ObserveStore: &tandemv1.ObserveStore{Fault: fault}}})
			if err != nil {
				return time.Time{}, err
			}
			return now.Add(storeTick), awaitApplied(ctx, s, res)
		})
	}}
}
