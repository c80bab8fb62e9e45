package leader

import (
	"context"
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Keys carries on what an operator has begun: a CA or a gossip key that follows on another.
func Keys(s *state.State, p Proposer) Loop {
	const name = "keys"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, _ time.Time) (time.Time, error) {
			next := NextKeys(v)
			if next == nil {
				return time.Time{}, nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ChangeKeys{ChangeKeys: next}})
			if err != nil {
				return time.Time{}, err
			}
			return time.Time{}, awaitApplied(ctx, s, res)
		})
	}}
}

// NextKeys decides the next phase of a rotation; nil when there is none yet. A key goes from next to active when all that are alive can
// read it, or trust it: who is lost learns of it when it is back, from a coordinator whose certificate it can verify all the same. A
// gossip key that was active goes when all that are alive write with the one that follows; a CA goes when the operator says so, for
// clients have to learn of it, too.
func NextKeys(v *state.View) *tandemv1.ChangeKeys {
	cluster, ok := v.Cluster()
	if !ok {
		return nil
	}
	next := &tandemv1.ChangeKeys{Version: cluster.GetKeysVersion()}
	changed := false
	for _, a := range cluster.GetAuthorities() {
		now, moved := advance(v, a.GetState(), a.GetSince(), state.NextAuthority(cluster) != nil && state.Held(v, state.NextAuthority(cluster).GetSince()), false)
		if moved {
			a = state.Clone(a)
			a.State, a.Since = now, next.GetVersion()+1
			changed = true
		}
		next.Authorities = append(next.Authorities, a)
	}
	follows := state.GossipIn(cluster, tandemv1.KeyState_KEY_STATE_NEXT)
	for _, k := range cluster.GetGossipKeys() {
		now, moved := advance(v, k.GetState(), k.GetSince(), follows != nil && state.Held(v, follows.GetSince()), true)
		if moved {
			changed = true
			if now == tandemv1.KeyState_KEY_STATE_UNSPECIFIED {
				continue
			}
			k = state.Clone(k)
			k.State, k.Since = now, next.GetVersion()+1
		}
		next.GossipKeys = append(next.GossipKeys, k)
	}
	if !changed {
		return nil
	}
	return next
}

// advance is the next state of a key, and whether it is another one. Held says that all that are alive have the key that is next; ends,
// that a former key is taken away when all know that it is.
func advance(v *state.View, now tandemv1.KeyState, since int64, held, ends bool) (tandemv1.KeyState, bool) {
	switch {
	case now == tandemv1.KeyState_KEY_STATE_NEXT && held:
		return tandemv1.KeyState_KEY_STATE_ACTIVE, true
	case now == tandemv1.KeyState_KEY_STATE_ACTIVE && held:
		return tandemv1.KeyState_KEY_STATE_FORMER, true
	case now == tandemv1.KeyState_KEY_STATE_FORMER && ends && state.Held(v, since):
		return tandemv1.KeyState_KEY_STATE_UNSPECIFIED, true
	}
	return now, false
}
