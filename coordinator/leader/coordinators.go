package leader

import (
	"cmp"
	"context"
	"slices"
	"time"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Peers is what Raft knows of the coordinators; consensus.Node does.
type Peers interface {
	// Peers are those of the configuration.
	Peers() []consensus.Peer
	// Contact is what this leader has learned of one of them itself.
	Contact(peer string) consensus.Contact
}

const (
	coordinatorsTick = time.Second
	// silence is how long a coordinator may be silent before it counts as gone: a start takes longer, a lost packet less.
	silence = 2 * time.Second
)

// Coordinators notes in the state what the leader sees of the coordinators, so that what becomes of them is in the events and can
// be asked of any of them.
func Coordinators(s *state.State, p Proposer, peers Peers) Loop {
	const name = "coordinators"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			seen := Seen(v, peers, now)
			if !Changed(v, seen) {
				return now.Add(coordinatorsTick), nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ObserveCoordinators{
				ObserveCoordinators: &tandemv1.ObserveCoordinators{Coordinators: seen},
			}})
			if err != nil {
				return time.Time{}, err
			}
			return now.Add(coordinatorsTick), awaitApplied(ctx, s, res)
		})
	}}
}

// Seen is what a leader says of the coordinators, by id. Of whom it has not heard itself, dead or alive, it says what is known.
func Seen(v *state.View, peers Peers, now time.Time) []*tandemv1.Coordinator {
	var seen []*tandemv1.Coordinator
	for _, p := range peers.Peers() {
		row, known := v.Coordinator(p.ID)
		alive := row.GetAlive() || !known
		switch at := peers.Contact(p.ID); {
		case p.Leader || at.Answers():
			alive = true
		case !at.Silent.IsZero() && now.Sub(at.Silent) >= silence:
			alive = false
		}
		seen = append(seen, &tandemv1.Coordinator{Id: p.ID, Address: p.Address, Voter: p.Voter, Leader: p.Leader, Alive: alive})
	}
	slices.SortFunc(seen, func(a, b *tandemv1.Coordinator) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return seen
}

// Changed says whether the state knows something else of the coordinators than a leader sees. A leader that Raft has stopped sees
// none: that is no news.
func Changed(v *state.View, seen []*tandemv1.Coordinator) bool {
	return len(seen) > 0 && !slices.EqualFunc(v.Coordinators(), seen, func(a, b *tandemv1.Coordinator) bool {
		return a.GetId() == b.GetId() && state.SameCoordinator(a, b)
	})
}
