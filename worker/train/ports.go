package train

import (
	"context"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/data"
)

// Trainer is a model with its optimizer. The ranks of a group call Step in step with each
// other; it averages their gradients, so that all of them hold the same parameters.
//
// Errors that match ErrPeerLost mean that another rank is gone; one made by Permanent says
// that another attempt would fail in the same way.
type Trainer interface {
	// Step does one optimizer step. Where a gradient is not finite, or an error is returned,
	// nothing is changed, unless the result says that the step was applied.
	Step(StepInput) (StepResult, error)
	// Evaluate measures a batch without learning from it, on this rank alone.
	Evaluate(data.Batch) (Totals, error)
	// Source copies parameters, buffers and the state of the optimizer to the host.
	ckpt.Source
	// LoadState puts back the whole state. Names, types and shapes have to be the same.
	LoadState([]safetensors.Tensor) error
	// SyncState makes the state of all ranks that of root. Collective.
	SyncState(root int) error
	// Fingerprint is a hash of all bits of the state.
	Fingerprint() (uint64, error)
	// Finite tells whether all numbers of the state are.
	Finite() (bool, error)
}

// StepInput is what one rank brings to a step.
type StepInput struct {
	Batch        data.Batch // may have no rows: the rank then takes part with gradients of zero
	LossScale    float64    // factor of the loss summed over the batch, before the average over ranks
	MicroBatches int        // parts the batch is computed in
	LR           float64    // learning rate
	Seed         int64      // of the random numbers drawn in the step
}

// StepResult is what came out of a step.
type StepResult struct {
	LossSum  float64 // over the rows of this rank, not scaled
	GradNorm float64 // L2 norm of the average gradient, before clipping
	Finite   bool    // on all ranks alike
	Applied  bool    // the update was done; also told with an error

	Forward, Backward, Optimizer time.Duration
	Exposed                      time.Duration // communication that backward did not hide, which is no part of Backward
}

// Group is the ranks of a generation.
type Group interface {
	// AllReduceSum replaces each value by its sum over the ranks. ErrPeerLost.
	AllReduceSum(values []float64) error
	// Broadcast returns root's bytes on all ranks. ErrPeerLost.
	Broadcast(root int, b []byte) ([]byte, error)
	// Waiting says how long this rank has been waiting for the others now; 0: it is not. Any goroutine may call it.
	Waiting() time.Duration
}

// Batches gives a rank its share of each global batch, in the order of the seed.
type Batches interface {
	// Seek makes c the place of the next batch, and rank the one of world whose share it is.
	// What was prepared is thrown away.
	Seek(c data.Cursor, rank, world int)
	// Next returns the share at the place, valid until the next call of either, and moves on.
	// It waits for a store that is unavailable; away is called once to tell so. When ctx ends
	// the place stays.
	Next(ctx context.Context, away func()) (data.Piece, error)
}

// Rows are those of a split that is evaluated.
type Rows interface {
	// Len is how many there are.
	Len() int
	// Read returns the rows [lo, hi), valid until the next call. It waits for a store that is
	// unavailable; away is called once to tell so.
	Read(ctx context.Context, lo, hi int, away func()) (data.Batch, error)
}

// Checkpoints keeps and finds training state.
type Checkpoints interface {
	// Restore returns what training starts from, the same on all ranks; nil: from the beginning.
	// It waits for a store that is unavailable; away is called once to tell so.
	Restore(ctx context.Context, away func()) (*ckpt.Manifest, []safetensors.Tensor, error)
	// Reserve makes ready for the first checkpoint of the state.
	Reserve(state ckpt.Source) error
	// Busy tells whether this rank still holds a share of a checkpoint that is being written.
	Busy() bool
	// Free says that no rank is busy. All ranks call it at the same step.
	Free()
	// Save begins to keep a checkpoint of the state as it is now; all ranks call it at the same
	// step with the same manifest. It copies this rank's share and does not wait for those
	// before: it may leave this one out, but not the last.
	Save(ctx context.Context, m ckpt.Manifest, state ckpt.Source, last bool) error
	// Wait returns when this rank's share of the last one is kept, on rank 0 when it is
	// committed, or with the error that it ended with. It waits for a store that is unavailable;
	// away is called once to tell so.
	Wait(ctx context.Context, away func()) error
}

// Ledger takes note of which rows this rank brought to a step that was applied. It is for
// tests, which prove with it that each row is used exactly once.
type Ledger interface {
	Applied(generation, step int64, rank, world int, share data.Piece)
}

// Reporter carries news to the coordinator.
type Reporter interface {
	// Report delivers what the coordinator decides on; it is safe when this returns.
	Report(ctx context.Context, r *tandemv1.EngineReport) error
	// Progress shows how far the training is. It does not block and may be lost.
	Progress(p *tandemv1.Progress)
}
