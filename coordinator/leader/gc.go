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
	// At most so many checkpoints, prefixes or trials are looked at in the store in one pass.
	gcBatch = 100
	// At most so many rows of old jobs, and a job more, are deleted in one pass.
	retiredRows = 1000
	// How often the store is searched for what uploads of a trial that has not ended left that were given up, and for those of datasets.
	abandonedTick = 6 * time.Hour
)

// GC deletes checkpoints that the retention of their jobs does not keep, and what is left of jobs that were deleted and of
// datasets that were not committed, and forgets what is too old.
func GC(s *state.State, p Proposer, store func() (storage.Store, error), log zerolog.Logger) Loop {
	const name = "gc"
	return Loop{name, func(ctx context.Context) error {
		c := &collector{s: s, p: p, name: name, store: store, log: log}
		return watch(ctx, s, c.pass)
	}}
}

type collector struct {
	s     *state.State
	p     Proposer
	name  string
	store func() (storage.Store, error)
	log   zerolog.Logger

	looked, expired, searched, cleared time.Time // when the last pass began, and when it was last looked for what is seldom there
}

func (c *collector) pass(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
	if due := c.looked.Add(gcPause); now.Before(due) {
		return due, nil
	}
	c.looked = now
	next := now.Add(gcTick)
	if now.Sub(c.expired) >= gcTick {
		if old := Expired(v, now); old != nil {
			if err := c.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_Expire{Expire: old}}); err != nil {
				return next, err
			}
		}
		more := false
		for _, decide := range []func(*state.View, time.Time) (*tandemv1.DeleteJobs, bool){Retired, LogsRetired} {
			old, others := decide(v, now)
			more = more || others
			if old == nil {
				continue
			}
			if err := c.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_DeleteJobs{DeleteJobs: old}}); err != nil {
				return next, err
			}
		}
		if !more { // else the next pass goes on, which the change of the state begins
			c.expired = now
		}
	}
	if ids := Surplus(v); len(ids) > 0 {
		if err := c.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_MarkCheckpoints{
			MarkCheckpoints: &tandemv1.MarkCheckpoints{CheckpointIds: ids},
		}}); err != nil {
			return next, err
		}
	}
	if err := c.deleteMarked(ctx); err != nil {
		return next, err
	}
	if err := c.deleteGarbage(ctx, now); err != nil {
		return next, err
	}
	if now.Sub(c.searched) < gcTick {
		return next, nil
	}
	trials := Unsearched(c.s.View(), now)
	if len(trials) < gcBatch {
		c.searched = now
	}
	if now.Sub(c.cleared) >= abandonedTick {
		c.cleared = now
		if err := c.deleteUploads(ctx, now); err != nil {
			return next, err
		}
	}
	return next, c.deleteAbandoned(ctx, trials, now)
}

// propose proposes a command and waits until the next pass sees what it did.
func (c *collector) propose(ctx context.Context, cmd *tandemv1.Command) error {
	res, err := propose(ctx, c.p, c.name, cmd)
	if err != nil {
		return err
	}
	if anyRefused(res) {
		sleep(ctx, time.Second)
	}
	return awaitApplied(ctx, c.s, res)
}

// deleteMarked deletes the objects of marked checkpoints, then forgets these: a crash between leaves them marked.
func (c *collector) deleteMarked(ctx context.Context) error {
	var gone []string
	for _, k := range c.s.View().Checkpoints() {
		if !k.GetDeleting() || len(gone) == gcBatch {
			continue
		}
		store, err := c.store()
		if err != nil {
			return err
		}
		if err := ckpt.Delete(ctx, store, k.GetPrefix()); err != nil {
			return fmt.Errorf("delete checkpoint %s: %w", k.GetId(), err)
		}
		c.log.Debug().Str("ckpt", k.GetId()).Str("trial", k.GetTrialId()).Int64("step", k.GetStep()).Msg("checkpoint deleted")
		gone = append(gone, k.GetId())
	}
	if len(gone) == 0 {
		return nil
	}
	return c.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_ForgetCheckpoints{
		ForgetCheckpoints: &tandemv1.ForgetCheckpoints{CheckpointIds: gone},
	}})
}

// deleteGarbage deletes the objects of garbage, then notes that: a crash between leaves them to be deleted again.
func (c *collector) deleteGarbage(ctx context.Context, now time.Time) error {
	prefixes := Litter(c.s.View(), now)
	if len(prefixes) == 0 {
		return nil
	}
	store, err := c.store()
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		n, err := storage.DeleteAll(ctx, store, prefix)
		if err != nil {
			return err
		}
		c.log.Debug().Str("prefix", prefix).Int("objects", n).Msg("deleted the objects of what was deleted")
	}
	return c.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_EmptyGarbage{EmptyGarbage: &tandemv1.EmptyGarbage{Prefixes: prefixes}}})
}

// deleteUploads deletes what clients sent for datasets that they did not commit, or sent again after that.
func (c *collector) deleteUploads(ctx context.Context, now time.Time) error {
	store, err := c.store()
	if err != nil {
		return err
	}
	for info, err := range store.List(ctx, layout.Uploads) {
		if err != nil {
			return fmt.Errorf("list what was uploaded: %w", err)
		}
		if now.Sub(info.ModTime) < fsm.UploadLimit {
			continue
		}
		if err := store.Delete(ctx, info.Key); err != nil {
			return fmt.Errorf("delete %s: %w", info.Key, err)
		}
		c.log.Info().Str("key", info.Key).Msg("deleted what was uploaded and not committed")
	}
	return nil
}

// deleteAbandoned deletes what given-up uploads of trials left in the store, and notes that it did: no manifest, untouched for longer
// than an upload may take, and of a generation that is over.
func (c *collector) deleteAbandoned(ctx context.Context, trials []*tandemv1.Trial, now time.Time) error {
	if len(trials) == 0 {
		return nil
	}
	store, err := c.store()
	if err != nil {
		return err
	}
	var searched []string
	for _, t := range trials {
		searched = append(searched, t.GetId())
		left, err := ckpt.Abandoned(ctx, store, layout.Checkpoints(t.GetId()), now.Add(-fsm.UploadLimit))
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
			c.log.Info().Str("trial", t.GetId()).Str("ckpt", e.Prefix).Msg("deleted what a given-up upload left")
		}
	}
	return c.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_NoteSearched{NoteSearched: &tandemv1.NoteSearched{TrialIds: searched}}})
}

// Litter decides which prefixes of the store to empty now, gcBatch at most: those of what was deleted, at once and once more when no
// upload there can be under way any more.
func Litter(v *state.View, now time.Time) (prefixes []string) {
	for _, g := range v.Garbage() {
		last := now.Sub(g.GetCreatedAt().AsTime()) >= fsm.UploadLimit
		if len(prefixes) < gcBatch && (last || !g.GetEmptied()) {
			prefixes = append(prefixes, g.GetId())
		}
	}
	return prefixes
}

// Unsearched decides for which trials to search the store for what their given-up uploads left, gcBatch at most: each that has not ended
// now and then, and once each that has, when no upload can be under way any more.
func Unsearched(v *state.View, now time.Time) (trials []*tandemv1.Trial) {
	for _, t := range v.Trials() {
		last := t.GetCreatedAt().AsTime()
		if t.GetSearchedAt() != nil {
			last = t.GetSearchedAt().AsTime()
		}
		due := last.Add(abandonedTick)
		if state.TrialFinal(t.GetState()) {
			if due = t.GetFinishedAt().AsTime().Add(fsm.UploadLimit); t.GetSearchedAt() != nil && !last.Before(due) {
				continue
			}
		}
		if len(trials) < gcBatch && !now.Before(due) {
			trials = append(trials, t)
		}
	}
	return trials
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
	e := &tandemv1.Expire{RequestsBefore: timestamppb.New(requests), TokensBefore: timestamppb.New(tokens)}
	if keep := retention(v).GetEvents(); keep != nil {
		before := now.Add(-keep.AsDuration())
		if first, ok := v.FirstEvent(); ok && first.GetTime().AsTime().Before(before) {
			old, e.EventsBefore = true, timestamppb.New(before)
		}
	}
	if !old {
		return nil
	}
	return e
}

// Retired decides which jobs the retention of the cluster deletes, retiredRows at most; nil when none. More: there are others.
func Retired(v *state.View, now time.Time) (jobs *tandemv1.DeleteJobs, more bool) {
	keep := retention(v).GetJobs()
	if keep == nil {
		return nil, false
	}
	before := now.Add(-keep.AsDuration())
	old, more := v.Prune(before, nil, retiredRows)
	going := state.Going(old)
	if len(going) == 0 {
		return nil, false
	}
	return &tandemv1.DeleteJobs{JobIds: going, FinishedBefore: timestamppb.New(before), Policy: true}, more
}

// LogsRetired decides of which jobs the retention of the cluster deletes the logs, as Retired does of whole jobs.
func LogsRetired(v *state.View, now time.Time) (jobs *tandemv1.DeleteJobs, more bool) {
	keep := retention(v).GetLogs()
	if keep == nil {
		return nil, false
	}
	before := now.Add(-keep.AsDuration())
	old, more := state.PruneLogs(v, before, nil, retiredRows)
	going := state.Going(old)
	if len(going) == 0 {
		return nil, false
	}
	return &tandemv1.DeleteJobs{JobIds: going, FinishedBefore: timestamppb.New(before), Policy: true, LogsOnly: true}, more
}

func retention(v *state.View) *tandemv1.RetentionPolicy {
	c, _ := v.Cluster()
	return c.GetRetention()
}
