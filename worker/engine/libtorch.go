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
	"tandem.dev/worker/data"
	"tandem.dev/worker/model"
	"tandem.dev/worker/publish"
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

// buildModel makes the model of a spec in training mode: from its architecture, or from the
// user's own file in the store.
func buildModel(ctx context.Context, store storage.Store, dog *watchdog, spec *tandemv1.JobSpec, shape []int64, outputs int) (*torch.Module, error) {
	own := spec.GetModel().GetTorchscript()
	if own == nil {
		return model.Build(spec.GetModel(), shape, outputs, spec.GetTraining().GetSeed())
	}
	const limit = 16 << 30
	b, err := storage.ReadAll(ctx, store, layout.Artifact(own.GetArtifact()), limit)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("the model file %s is not in the store; submit the job again with model.torchscript.file: %w", own.GetArtifact(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the model file: %w", err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != own.GetArtifact() {
		return nil, train.Permanent(fmt.Errorf("the model file %s has other bytes in the store than were uploaded (their SHA-256 is %x): find out who may write to the store, and submit the job again with model.torchscript.file", own.GetArtifact(), sum))
	}
	m, err := loadModule(b, torch.CPU, dog)
	if err != nil {
		return nil, fmt.Errorf("model.torchscript: %w", err)
	}
	if err := m.SetTraining(true); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// checkModel refuses a model whose output does not fit the dataset, before any work is done.
func checkModel(ctx context.Context, m *torch.Module, dog *watchdog, source data.Source, outputs []int64) error {
	if err := m.SetTraining(false); err != nil {
		return err
	}
	rows := min(2, source.Len())
	few, err := data.NewSlices(source).Read(ctx, 0, rows, func() {})
	if err != nil {
		return err
	}
	_, shape, err := predictor{m, dog}.Predict(few.X, append([]int64{int64(rows)}, few.Shape...))
	if err != nil {
		return fmt.Errorf("try the model on %d rows: %w", rows, err)
	}
	if err := publish.CheckOutput(shape, rows, outputs); err != nil {
		return err
	}
	return m.SetTraining(true)
}

// predictor fits torch.Module to publish.Model.
type predictor struct {
	*torch.Module
	dog *watchdog
}

func (p predictor) Predict(x []float32, shape []int64) ([]float32, []int64, error) {
	var out torch.Tensor
	err := p.dog.call("a forward pass", func() (err error) {
		out, err = p.Forward(torch.Float32Tensor(x, shape...))
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	values, err := torch.Float32s(out)
	return values, out.Shape, err
}

// loadModule reads a TorchScript file onto a device.
func loadModule(file []byte, on torch.Device, dog *watchdog) (m *torch.Module, err error) {
	err = dog.call("loading it", func() (err error) {
		m, err = torch.LoadModule(file, on)
		return err
	})
	return m, err
}

// loadPredictor reads a TorchScript file onto a device, ready to answer.
func loadPredictor(file []byte, on torch.Device, dog *watchdog) (predictor, error) {
	m, err := loadModule(file, on, dog)
	if err != nil {
		return predictor{}, err
	}
	if err := m.SetTraining(false); err != nil {
		m.Close()
		return predictor{}, err
	}
	return predictor{m, dog}, nil
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

func (x exporter) Load(file []byte) (publish.Model, error) {
	return loadPredictor(file, torch.CPU, x.dog)
}

func (x exporter) Libtorch() string { return x.libtorch }
