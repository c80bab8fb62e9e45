package train

import (
	"maps"

	"tandem.dev/storage/ckpt"
	"tandem.dev/worker/data"
)

// State is all that a resume needs besides the tensors of the Trainer.
type State struct {
	Step    int64              // optimizer steps done
	Cursor  data.Cursor        // where the next step takes its rows
	Best    *ckpt.Best         // best evaluation so far; nil if none
	Metrics map[string]float64 // of the evaluation at this very step; nil if there was none
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

// stateOf is the inverse of manifest.
func stateOf(m ckpt.Manifest) State {
	return State{
		Step:    m.Step,
		Cursor:  data.Cursor{Epoch: m.Cursor.Epoch, Position: m.Cursor.Position},
		Best:    m.Best,
		Metrics: m.Metrics,
	}
}
