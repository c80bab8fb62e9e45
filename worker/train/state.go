package train

import (
	"maps"

	"tandem.dev/storage/ckpt"
	"tandem.dev/worker/data"
)

// State is all that a rank needs to go on, besides the tensors of the Trainer. A rank that
// is behind gets it from one that is not, as JSON.
type State struct {
	Step    int64              // optimizer steps done
	Cursor  data.Cursor        // where the next step takes its rows
	Best    *ckpt.Best         // best evaluation so far; nil if none
	Metrics map[string]float64 // of the evaluation at this very step; nil if there was none
	// Looked: what comes after the step, evaluation and checkpoint, is done. A group that broke
	// in between does it again.
	Looked bool
	// Skipped batches in a row, whose gradients were not finite.
	Skipped int
	// SkipStep is a step that is skipped when it comes again after going back; 0: none.
	SkipStep int64
	// Rollbacks is how often the training went back since its state was not finite.
	Rollbacks int
}

// after returns the state after one more step, nothing looked at yet.
func (s State) after(next data.Cursor) State {
	return State{Step: s.Step + 1, Cursor: next, Best: s.Best, SkipStep: s.SkipStep, Rollbacks: s.Rollbacks}
}

// manifest returns the part of a checkpoint's manifest that the state decides.
func (s State) manifest() ckpt.Manifest {
	m := ckpt.Manifest{
		Step:    s.Step,
		Epoch:   s.Cursor.Epoch,
		Cursor:  ckpt.Cursor{Epoch: s.Cursor.Epoch, Position: s.Cursor.Position},
		Metrics: maps.Clone(s.Metrics),
	}
	if s.Best != nil {
		best := *s.Best
		m.Best = &best
	}
	return m
}

// stateOf is the inverse of manifest: a checkpoint is taken when all is looked at.
func stateOf(m ckpt.Manifest) State {
	return State{
		Step:    m.Step,
		Cursor:  data.Cursor{Epoch: m.Cursor.Epoch, Position: m.Cursor.Position},
		Best:    m.Best,
		Metrics: m.Metrics,
		Looked:  true,
	}
}
