package leader

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/layout"
)

const (
	gcTick = 10 * time.Minute
	// It looks at all checkpoints, so not at each change of the state.
	gcPause = time.Second
	// Tokens that ended are shown for so long.
	tokenLife = 24 * time.Hour
	// At most so many checkpoints are deleted in one pass.
	gcBatch = 100
	// How often the store is searched for what uploads left that were given up.
	abandonedTick = 6 * time.Hour
	// No upload takes so long, even when it waits for a store that is away.
	uploadLimit = 24 * time.Hour
)

// GC deletes checkpoints that the retention of their jobs does not keep, and forgets what is too old.
func GC(s *state.State, p Proposer, store func() (storage.Store, error), log zerolog.Logger) Loop {
	const name = "gc"
	return Loop{name, func(ctx context.Context) error {
		var expired, searched, looked time.Time
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			if due := looked.Add(gcPause); now.Before(due) {
				return due, nil
			}
			looked = now
			next := now.Add(gcTick)
			if now.Sub(expired) >= gcTick {
				expired = now
				if err := forget(ctx, v, p, name, now); err != nil {
					return next, err
				}
			}
			if ids := Surplus(v); len(ids) > 0 {
				res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_MarkCheckpoints{
					MarkCheckpoints: &tandemv1.MarkCheckpoints{CheckpointIds: ids},
				}})
				if err != nil {
					return next, err
				}
				if anyRefused(res) {
					rest(ctx, time.Second)
				}
				if err := settle(ctx, s, res); err != nil {
					return next, err
				}
			}
			if err := deleteMarked(ctx, s, p, name, store, log); err != nil {
				return next, err
			}
			if now.Sub(searched) >= abandonedTick {
				searched = now
				return next, deleteAbandoned(ctx, v, now, store, log)
			}
			return next, nil
		})
	}}
}

// forget proposes to forget what is too old.
func forget(ctx context.Context, v *state.View, p Proposer, name string, now time.Time) error {
	old := Expired(v, now)
	if old == nil {
		return nil
	}
	_, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_Expire{Expire: old}})
	return err
}

// deleteMarked deletes the objects of marked checkpoints, then forgets these: a crash between leaves them marked.
func deleteMarked(ctx context.Context, s *state.State, p Proposer, name string, open func() (storage.Store, error), log zerolog.Logger) error {
	var gone []string
	v := s.View()
	for _, c := range v.Checkpoints() {
		if !c.GetDeleting() || len(gone) == gcBatch {
			continue
		}
		store, err := open()
		if err != nil {
			return err
		}
		if err := ckpt.Delete(ctx, store, c.GetPrefix()); err != nil {
			return fmt.Errorf("delete checkpoint %s: %w", c.GetId(), err)
		}
		log.Debug().Str("ckpt", c.GetId()).Str("trial", c.GetTrialId()).Int64("step", c.GetStep()).Msg("checkpoint deleted")
		gone = append(gone, c.GetId())
	}
	if len(gone) == 0 {
		return nil
	}
	res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_ForgetCheckpoints{
		ForgetCheckpoints: &tandemv1.ForgetCheckpoints{CheckpointIds: gone},
	}})
	if err != nil {
		return err
	}
	return settle(ctx, s, res)
}

// deleteAbandoned deletes what given-up uploads left in the store: no manifest, untouched for longer than an upload may take, and
// of a generation that is over.
func deleteAbandoned(ctx context.Context, v *state.View, now time.Time, open func() (storage.Store, error), log zerolog.Logger) error {
	trials := v.Trials()
	if len(trials) == 0 {
		return nil
	}
	store, err := open()
	if err != nil {
		return err
	}
	for _, t := range trials {
		left, err := ckpt.Abandoned(ctx, store, layout.Checkpoints(t.GetId()), now.Add(-uploadLimit))
		if err != nil {
			return err
		}
		for _, e := range left {
			if e.Generation >= t.GetGeneration() && !state.TrialFinal(t.GetState()) {
				continue
			}
			if err := ckpt.Delete(ctx, store, e.Prefix); err != nil {
				return err
			}
			log.Info().Str("trial", t.GetId()).Str("ckpt", e.Prefix).Msg("deleted what a given-up upload left")
		}
	}
	return nil
}

// Surplus decides which checkpoints to mark for deletion: those that the retention of their jobs does not keep.
func Surplus(v *state.View) []string {
	var ids []string
	for _, r := range v.Retention("") {
		if !r.GetKeep() && !r.GetCheckpoint().GetDeleting() {
			ids = append(ids, r.GetCheckpoint().GetId())
		}
	}
	return ids
}

// Expired decides what is too old to be remembered; nil when nothing is.
func Expired(v *state.View, now time.Time) *tandemv1.Expire {
	requests, tokens := now.Add(-fsm.RequestLife), now.Add(-tokenLife)
	old := slices.ContainsFunc(v.Requests(), func(r *tandemv1.RequestRecord) bool { return r.GetTime().AsTime().Before(requests) }) ||
		slices.ContainsFunc(v.AllTokens(), func(t *tandemv1.Token) bool {
			return t.GetExpiresAt() != nil && t.GetExpiresAt().AsTime().Before(tokens)
		})
	if !old {
		return nil
	}
	return &tandemv1.Expire{RequestsBefore: timestamppb.New(requests), TokensBefore: timestamppb.New(tokens)}
}
