package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/version"
	"tandem.dev/worker/crash"
	"tandem.dev/worker/data"
	"tandem.dev/worker/line"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

// trainer fits torch.Trainer to train.Trainer.
type trainer struct {
	*torch.Trainer
	dog *watchdog
}

func (t trainer) Step(in train.StepInput) (train.StepResult, error) {
	var r torch.StepResult
	err := t.dog.call("a step", func() (err error) {
		r, err = t.Trainer.Step(torch.StepInput{
			Batch: batchOf(in.Batch), LossScale: in.LossScale, MicroBatches: in.MicroBatches, LR: in.LR, Seed: in.Seed,
		})
		return err
	})
	return train.StepResult{
		LossSum: r.LossSum, GradNorm: r.GradNorm, Finite: r.Finite, Applied: r.Applied,
		Forward: r.Forward, Backward: r.Backward, Exposed: r.Exposed, Optimizer: r.Optimizer,
	}, err
}

func (t trainer) Evaluate(b data.Batch) (train.Totals, error) {
	var r torch.EvalResult
	err := t.dog.call("the evaluation of a batch", func() (err error) {
		r, err = t.Trainer.Evaluate(batchOf(b))
		return err
	})
	return train.Totals{
		Rows: float64(r.Rows), LossSum: r.LossSum, Correct: float64(r.Correct),
		SquaredErrorSum: r.SquaredErrorSum, AbsErrorSum: r.AbsErrorSum, Elements: float64(r.Elements),
	}, err
}

func batchOf(b data.Batch) torch.Batch {
	return torch.Batch{X: b.X, XShape: append([]int64{int64(b.Rows)}, b.Shape...), Labels: b.Labels, Targets: b.Targets}
}

// watched is a model each of whose calls the watchdog looks at: any of them may run code of the user's, saving as well as loading.
type watched struct {
	module *torch.Module
	dog    *watchdog
}

// loadModule reads a TorchScript file onto a device.
func loadModule(file []byte, on torch.Device, dog *watchdog) (w watched, err error) {
	w.dog = dog
	err = dog.call("loading it", func() error {
		return crash.ExitWith(line.ExitUnreadable, func() (err error) {
			w.module, err = torch.LoadModule(file, on)
			return err
		})
	})
	return w, err
}

func (w watched) SetTraining(on bool) error {
	return w.dog.call("a change between training and evaluation", func() error { return w.module.SetTraining(on) })
}

func (w watched) Load(state []torch.Tensor) error {
	return w.dog.call("taking over its parameters", func() error { return w.module.Load(state) })
}

func (w watched) Save() (file []byte, err error) {
	err = w.dog.call("saving it", func() (err error) {
		file, err = w.module.Save()
		return err
	})
	return file, err
}

func (w watched) State() (state []torch.Tensor, err error) {
	err = w.dog.call("a look at its parameters", func() (err error) {
		state, err = w.module.State()
		return err
	})
	return state, err
}

// Predict implements version.Model.
func (w watched) Predict(x []float32, shape []int64) ([]float32, []int64, error) {
	var out torch.Tensor
	err := w.dog.call("a forward pass", func() (err error) {
		out, err = w.module.Forward(torch.Float32Tensor(x, shape...))
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	values, err := torch.Float32s(out)
	return values, out.Shape, err
}

// Close frees the model.
func (w watched) Close() { w.module.Close() }

// buildModel makes the model of a spec in training mode: from its architecture, or from the
// user's own file in the store.
func buildModel(ctx context.Context, store storage.Store, dog *watchdog, spec *tandemv1.JobSpec, shape []int64, outputs int) (watched, error) {
	own := spec.GetModel().GetTorchscript()
	if own == nil {
		m, err := model.Build(spec.GetModel(), shape, outputs, spec.GetTraining().GetSeed())
		return watched{m, dog}, err
	}
	const limit = 16 << 30
	b, err := storage.ReadAll(ctx, store, layout.Artifact(own.GetArtifact()), limit)
	if errors.Is(err, storage.ErrNotFound) {
		return watched{}, fmt.Errorf("the model file %s is not in the store; submit the job again with model.torchscript.file: %w", own.GetArtifact(), err)
	}
	if err != nil {
		return watched{}, fmt.Errorf("read the model file: %w", err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != own.GetArtifact() {
		return watched{}, train.Permanent(fmt.Errorf("the model file %s has other bytes in the store than were uploaded (their SHA-256 is %x): find out who may write to the store, and submit the job again with model.torchscript.file", own.GetArtifact(), sum))
	}
	m, err := loadModule(b, torch.CPU, dog)
	if err != nil {
		return watched{}, fmt.Errorf("model.torchscript: %w", err)
	}
	if err := m.SetTraining(true); err != nil {
		m.Close()
		return watched{}, err
	}
	return m, nil
}

// checkModel refuses a model whose output does not fit the dataset, before any work is done.
func checkModel(ctx context.Context, m watched, source data.Source, outputs []int64) error {
	if err := m.SetTraining(false); err != nil {
		return err
	}
	rows := min(2, source.Len())
	few, err := data.NewSlices(source).Read(ctx, 0, rows, func() {})
	if err != nil {
		return err
	}
	_, shape, err := m.Predict(few.X, append([]int64{int64(rows)}, few.Shape...))
	if err != nil {
		return fmt.Errorf("try the model on %d rows: %w", rows, err)
	}
	if err := version.CheckOutput(shape, rows, outputs); err != nil {
		return err
	}
	return m.SetTraining(true)
}

// loadPredictor reads a TorchScript file onto a device, ready to answer.
func loadPredictor(file []byte, on torch.Device, dog *watchdog) (watched, error) {
	m, err := loadModule(file, on, dog)
	if err != nil {
		return watched{}, err
	}
	if err := m.SetTraining(false); err != nil {
		m.Close()
		return watched{}, err
	}
	return m, nil
}

// exporter fits worker/torch to publish.Engine.
type exporter struct {
	store    storage.Store
	libtorch string
	dog      *watchdog
}

func (x exporter) Export(ctx context.Context, spec *tandemv1.JobSpec, shape []int64, outputs int, state []safetensors.Tensor) ([]byte, []safetensors.Tensor, error) {
	m, err := buildModel(ctx, x.store, x.dog, spec, shape, outputs)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	if err := m.Load(state); err != nil {
		return nil, nil, err
	}
	if err := m.SetTraining(false); err != nil {
		return nil, nil, err
	}
	file, err := m.Save()
	if err != nil {
		return nil, nil, err
	}
	tensors, err := m.State()
	return file, tensors, err
}

func (x exporter) Load(file []byte) (version.Model, error) {
	return loadPredictor(file, torch.CPU, x.dog)
}

func (x exporter) Libtorch() string { return x.libtorch }
