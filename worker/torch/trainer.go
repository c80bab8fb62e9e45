package torch

// #include "shim.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"time"
	"unsafe"
)

// TrainerConfig says what to train and how.
type TrainerConfig struct {
	Module    *Module // moved to Device and trained in place
	Group     *Group  // nil trains alone
	Device    Device
	Loss      LossKind
	Optimizer OptimizerConfig
	// ClipNorm bounds the Euclidean norm of all gradients; 0 does not.
	ClipNorm float64
	// BucketBytes is the size from which gradients are reduced while backward goes on; 0 means 1 MiB on the CPU, 25 MiB on CUDA.
	// Where ranks share memory all are reduced after it.
	BucketBytes int64

	foreach bool // for tests: torch's list operators where own loops would do
}

// Trainer trains a module. One goroutine uses it at a time. A step is done or it is not (StepResult.Applied): there is
// nothing between. After an error from a collective only SetGroup leads on; State, Evaluate and Fingerprint work.
type Trainer struct {
	config TrainerConfig
	handle *C.tdm_trainer // nil once closed
}

// NewTrainer prepares training. In a group it is a collective that refuses models of different shapes. Each rank keeps its
// own parameters and buffers: SyncState makes them equal, where they are not already.
func NewTrainer(c TrainerConfig) (*Trainer, error) {
	if err := c.Optimizer.validate(); err != nil {
		return nil, err
	}
	switch {
	case c.Module == nil || c.Module.cm == nil:
		return nil, fmt.Errorf("new trainer: %w", ErrClosed)
	case c.Loss != CrossEntropy && c.Loss != MSE:
		return nil, fmt.Errorf("loss %q is unknown: use cross_entropy or mse", c.Loss)
	case !(c.ClipNorm >= 0):
		return nil, fmt.Errorf("clip norm %g is negative", c.ClipNorm)
	case c.BucketBytes < 0:
		return nil, fmt.Errorf("bucket size %d is negative", c.BucketBytes)
	}
	o := c.Optimizer
	cc := C.tdm_trainer_config{
		loss: C.TDM_CROSS_ENTROPY, optimizer: C.TDM_SGD, momentum: C.double(o.Momentum), weight_decay: C.double(o.WeightDecay),
		beta1: C.double(o.Beta1), beta2: C.double(o.Beta2), eps: C.double(o.Epsilon), nesterov: cbool(o.Nesterov),
		clip_norm: C.double(c.ClipNorm), bucket_bytes: C.int64_t(c.BucketBytes),
		foreach: cbool(c.foreach),
	}
	if c.Loss == MSE {
		cc.loss = C.TDM_MSE
	}
	switch o.Kind {
	case Adam:
		cc.optimizer = C.TDM_ADAM
	case AdamW:
		cc.optimizer = C.TDM_ADAMW
	}
	t := &Trainer{config: c}
	if err := c.Module.To(c.Device); err != nil {
		return nil, fmt.Errorf("new trainer: %w", err)
	}
	err := withGroup(c.Group, func(g *C.tdm_group) error {
		return check(C.tdm_trainer_new(c.Module.handle(), C.tdm_device(c.Device.index()), g, &cc, &t.handle))
	})
	if err != nil {
		return nil, fmt.Errorf("new trainer: %w", err)
	}
	return t, nil
}

// withGroup calls f with the group's handle, nil for none, and keeps Close out meanwhile.
func withGroup(g *Group, f func(*C.tdm_group) error) error {
	if g == nil {
		return f(nil)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.handle == nil {
		return ErrClosed
	}
	return f(g.handle)
}

// StepInput is this rank's share of one optimizer step.
type StepInput struct {
	// Batch may have zero rows: the rank then takes part with zero gradients.
	Batch
	// LossScale multiplies the sum of the rows' losses. Gradients are averaged over the ranks, so world size / rows
	// of the whole batch makes the update that of the mean over the whole batch, however it is shared out.
	LossScale float64
	// MicroBatches splits the rows for forward and backward, with one reduction at the end; 0 means 1.
	MicroBatches int
	LR           float64
	// Seed of dropout and the like in this step: make it from seed, step and rank.
	Seed int64
}

// StepResult tells what a step saw on this rank before its update.
type StepResult struct {
	LossSum  float64 // sum of the rows' losses, without LossScale
	Rows     int     // rows of the input
	GradNorm float64 // of the gradients averaged over the ranks, before clipping: equal on all ranks
	Finite   bool    // false: a gradient is NaN or infinite, and nothing was changed on any rank

	// Where the time of the step went. Exposed is the waiting for the other ranks: through shared memory all of it, since
	// an all-reduce there returns when it is done; with Gloo from when the last gradients were handed over, as all before
	// went on beside backward; 0 on CUDA, where the device waits. It includes how much later than this rank the others came.
	Forward, Backward, Exposed, Optimizer time.Duration

	Applied bool // the update is done; with an error it says whether the state is that before or that after the step
}

// Step does one optimizer step: forward, loss and backward for each micro-batch, the average of the gradients over the
// ranks while backward still runs, the finite check, clipping and the update. The same state and input give the same bits.
func (t *Trainer) Step(in StepInput) (StepResult, error) {
	if t.handle == nil {
		return StepResult{}, ErrClosed
	}
	b, err := in.Batch.check(t.config.Loss)
	if err != nil {
		return StepResult{}, err
	}
	if math.IsNaN(in.LR) || math.IsInf(in.LR, 0) || math.IsNaN(in.LossScale) || math.IsInf(in.LossScale, 0) {
		return StepResult{}, fmt.Errorf("learning rate %g or loss scale %g is not finite", in.LR, in.LossScale)
	}
	var out C.tdm_step_result
	s := C.tdm_trainer_step(t.handle, (*C.float)(unsafe.SliceData(b.X)), cshape(b.XShape), C.int32_t(len(b.XShape)),
		(*C.int64_t)(unsafe.SliceData(b.Labels)), (*C.float)(unsafe.SliceData(b.Targets)), cshape(b.YShape), C.int32_t(len(b.YShape)),
		C.double(in.LossScale), C.int32_t(in.MicroBatches), C.double(in.LR), C.int64_t(in.Seed), &out)
	runtime.KeepAlive(b)
	return StepResult{
		LossSum: float64(out.loss_sum), Rows: int(out.rows), GradNorm: float64(out.grad_norm), Finite: out.finite != 0, Applied: out.applied != 0,
		Forward: time.Duration(out.forward_ns), Backward: time.Duration(out.backward_ns), Exposed: time.Duration(out.exposed_ns),
		Optimizer: time.Duration(out.optimizer_ns),
	}, check(s)
}

// EvalResult sums over the rows of an evaluation, so that shares can be added up.
type EvalResult struct {
	LossSum         float64 // of the rows' losses
	Rows            int
	Correct         int     // cross-entropy: labels that have the largest output
	Elements        int     // labels or target values seen
	SquaredErrorSum float64 // mse: over all elements
	AbsErrorSum     float64 // mse: over all elements
}

// Evaluate runs the model in evaluation mode on a batch, on this rank only: it is not a collective.
func (t *Trainer) Evaluate(b Batch) (EvalResult, error) {
	if t.handle == nil {
		return EvalResult{}, ErrClosed
	}
	b, err := b.check(t.config.Loss)
	if err != nil {
		return EvalResult{}, err
	}
	var out C.tdm_eval_result
	s := C.tdm_trainer_evaluate(t.handle, (*C.float)(unsafe.SliceData(b.X)), cshape(b.XShape), C.int32_t(len(b.XShape)),
		(*C.int64_t)(unsafe.SliceData(b.Labels)), (*C.float)(unsafe.SliceData(b.Targets)), cshape(b.YShape), C.int32_t(len(b.YShape)), &out)
	runtime.KeepAlive(b)
	if err := check(s); err != nil {
		return EvalResult{}, err
	}
	r := EvalResult{LossSum: float64(out.loss_sum), Rows: int(out.rows), Elements: int(out.elements)}
	if t.config.Loss == CrossEntropy {
		r.Correct = int(out.correct)
	} else {
		r.SquaredErrorSum, r.AbsErrorSum = float64(out.squared_error_sum), float64(out.abs_error_sum)
	}
	return r, nil
}

// State returns copies of all that a resume needs: "model.<name>" for parameters and buffers,
// "optim.<parameter>.<slot>" (momentum_buffer; exp_avg, exp_avg_sq) and "optim.step". It is equal on all ranks.
func (t *Trainer) State() ([]Tensor, error) {
	if t.handle == nil {
		return nil, ErrClosed
	}
	var list *C.tdm_tensors
	if err := check(C.tdm_trainer_state(t.handle, &list)); err != nil {
		return nil, fmt.Errorf("read training state: %w", err)
	}
	return takeTensors(list, nil), nil
}

// LoadState restores what State returned, bit for bit. It is local: every rank loads the same state, or one does and
// SyncState follows. All tensors have to be given; else ErrStateMismatch names the first difference and nothing is written.
func (t *Trainer) LoadState(state []Tensor) error {
	if t.handle == nil {
		return ErrClosed
	}
	list, err := giveTensors(state)
	if err != nil {
		return err
	}
	defer C.tdm_tensors_free(list)
	return check(C.tdm_trainer_load_state(t.handle, list))
}

// SyncState makes every rank's state (parameters, buffers, optimizer) that of root. It changes nothing on a rank until all
// of it has come. Collective; without a group it does nothing.
func (t *Trainer) SyncState(root int) error {
	if t.handle == nil {
		return ErrClosed
	}
	return check(C.tdm_trainer_sync_state(t.handle, C.int32_t(root)))
}

// SetGroup leaves the present group and goes on in another, nil for none; the state stays. In a group it is a collective that
// refuses models of different shapes; whose state counts is the caller's to say, by SyncState. SetGroup(nil) always works,
// whatever failed before; SetGroup after an error leaves the trainer in the new group, to be taken out by the next SetGroup.
func (t *Trainer) SetGroup(g *Group) error {
	if t.handle == nil {
		return ErrClosed
	}
	return withGroup(g, func(h *C.tdm_group) error { return check(C.tdm_trainer_set_group(t.handle, h)) })
}

// Fingerprint hashes all bits of the state where it lies (some GB a second). Equal states have equal fingerprints, and a
// single bit that is another makes another one. Compare those of ranks on the same kind of device.
func (t *Trainer) Fingerprint() (uint64, error) {
	if t.handle == nil {
		return 0, ErrClosed
	}
	var out C.uint64_t
	err := check(C.tdm_trainer_fingerprint(t.handle, &out))
	return uint64(out), err
}

// Finite says whether all numbers of the state are finite.
func (t *Trainer) Finite() (bool, error) {
	if t.handle == nil {
		return false, ErrClosed
	}
	var out C.int32_t
	err := check(C.tdm_trainer_finite(t.handle, &out))
	return out != 0, err
}

// Close frees the trainer and leaves its group. The Module stays usable.
func (t *Trainer) Close() {
	if t.handle != nil {
		C.tdm_trainer_free(t.handle)
		t.handle = nil
	}
}
