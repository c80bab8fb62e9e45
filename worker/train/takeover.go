package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tandem.dev/storage/metric"
)

// standing is how far one rank is.
type standing struct {
	done        int64 // steps done + 1; 0: it has no state
	looked      bool
	warm        bool // its process has done a step
	fingerprint uint64
}

// slots of a standing in the vector that the ranks add up: each writes into its own only.
const standingSlots = 5

func (s standing) put(v []float64) {
	v[0] = float64(s.done)
	if s.looked {
		v[1] = 1
	}
	// Halves: a float64 holds integers up to 2^53.
	v[2], v[3] = float64(s.fingerprint>>32), float64(s.fingerprint&0xffffffff)
	if s.warm {
		v[4] = 1
	}
}

func standingOf(v []float64) standing {
	return standing{done: int64(v[0]), looked: v[1] > 0, fingerprint: uint64(v[2])<<32 | uint64(v[3]), warm: v[4] > 0}
}

// source decides whose state all ranks go on with: that of the one who is furthest, since a
// step that was applied anywhere had the gradients of all. Among those that are equally far,
// the state that most of them hold, then the lowest rank. -1: nobody has any.
func source(all []standing) int {
	held := map[uint64]int{}
	furthest := int64(0)
	for _, s := range all {
		if s.done > furthest {
			furthest = s.done
			clear(held)
		}
		if s.done == furthest {
			held[s.fingerprint]++
		}
	}
	root := -1
	if furthest == 0 {
		return root
	}
	for rank, s := range all {
		if s.done == furthest && (root < 0 || held[s.fingerprint] > held[all[root].fingerprint]) {
			root = rank
		}
	}
	return root
}

// equalize makes the state of all ranks the same. It is a collective.
func (l *Loop) equalize(ctx context.Context) error {
	all, err := l.standings()
	if err != nil {
		return err
	}
	for _, s := range all {
		if !s.warm {
			l.first = firstSteps
		}
	}
	root := source(all)
	if root < 0 {
		return l.restore(ctx)
	}
	same, looked := true, true
	for _, s := range all {
		same = same && s.done == all[root].done && s.fingerprint == all[root].fingerprint
		looked = looked && (s.looked || s.done != all[root].done)
	}
	if !same {
		l.Log.Info().Int("root", root).Int64("step", all[root].done-1).Msg("taking over the state of a rank that is ahead")
		if err := l.takeOver(root); err != nil {
			return err
		}
	}
	l.state.Looked = looked
	return nil
}

func (l *Loop) standings() ([]standing, error) {
	mine := standing{warm: l.warm}
	if l.state != nil {
		fingerprint, err := l.Trainer.Fingerprint()
		if err != nil {
			return nil, fmt.Errorf("hash the state: %w", err)
		}
		mine.done, mine.looked, mine.fingerprint = l.state.Step+1, l.state.Looked, fingerprint
	}
	v := make([]float64, standingSlots*l.gen.World)
	mine.put(v[standingSlots*l.gen.Rank:])
	if err := l.allReduce(v); err != nil {
		return nil, fmt.Errorf("compare states: %w", err)
	}
	all := make([]standing, l.gen.World)
	for rank := range all {
		all[rank] = standingOf(v[standingSlots*rank:])
	}
	return all, nil
}

// takeOver makes every rank's state that of root.
func (l *Loop) takeOver(root int) error {
	var b []byte
	var err error
	if l.gen.Rank == root {
		if b, err = json.Marshal(l.state); err != nil {
			return fmt.Errorf("encode the state: %w", err)
		}
	}
	err = l.transfer(func() error {
		if b, err = l.gen.Group.Broadcast(root, b); err != nil {
			return err
		}
		return l.Trainer.SyncState(root)
	})
	if err != nil {
		// The tensors may be of two states now. This rank has none, then, and takes what others have.
		if l.gen.Rank != root {
			l.state, l.torn = nil, true
		}
		return fmt.Errorf("take over the state of rank %d: %w", root, err)
	}
	if l.gen.Rank == root {
		return nil
	}
	var st State
	if err := json.Unmarshal(b, &st); err != nil {
		return fmt.Errorf("decode the state of rank %d: %w", root, err)
	}
	l.state, l.saved, l.torn = &st, -1, false
	return nil
}

// restore puts all ranks where the checkpoints left off, or at the beginning.
func (l *Loop) restore(ctx context.Context) error {
	l.saved = -1
	l.Record.Enter(metric.Starting, l.Now())
	m, tensors, err := l.Checkpoints.Restore(ctx, func() { l.show(State{}, PhaseStorage) })
	if err != nil {
		return err
	}
	if m == nil {
		if l.torn {
			return errors.New("the state was lost while another rank gave it, and there is no checkpoint; the process starts anew")
		}
		// The ranks have built the same model from the same seed; a user's own file may draw numbers of its own.
		if l.gen.World > 1 {
			if err := l.transfer(func() error { return l.Trainer.SyncState(0) }); err != nil {
				return fmt.Errorf("begin with the weights of rank 0: %w", err)
			}
		}
		l.state = &State{Looked: true}
		return nil
	}
	if err := l.Trainer.LoadState(tensors); err != nil {
		return fmt.Errorf("restore checkpoint of step %d: %w", m.Step, err)
	}
	l.Record.Restored(m.Step)
	l.Record.Enter(metric.Other, l.Now())
	st := stateOf(*m)
	l.state, l.saved, l.torn = &st, m.Step, false
	if st.Step >= l.Plan.Until && st.Metrics == nil {
		// Another trial left it where this one is to end already: it was measured and kept for that trial alone.
		st.Looked, l.saved = false, -1
	}
	return nil
}
