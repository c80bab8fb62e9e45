package publish

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/version"
	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

// Engine is what the publisher asks of libtorch.
type Engine interface {
	// Export makes the spec's model for rows of the given shape, with the given parameters and
	// buffers, in evaluation mode on the CPU, and returns it as a TorchScript file and as tensors.
	Export(ctx context.Context, spec *tandemv1.JobSpec, shape []int64, outputs int, state []safetensors.Tensor) (file []byte, tensors []safetensors.Tensor, err error)
	// Load reads a TorchScript file.
	Load(file []byte) (version.Model, error)
	// Libtorch is the version of libtorch.
	Libtorch() string
}

// Deps of a Publisher.
type Deps struct {
	Store  storage.Store
	Engine Engine
	Log    zerolog.Logger
}

// Publisher publishes one checkpoint.
type Publisher struct {
	task *tandemv1.PublishTask
	Deps
}

// New makes a publisher.
func New(task *tandemv1.PublishTask, d Deps) *Publisher { return &Publisher{task, d} }

// modelPrefix is before the names of the model's tensors in a checkpoint.
const modelPrefix = "model."

// Run makes the version, or finds the one that an earlier attempt has committed, and measures the incumbents beside it.
func (p *Publisher) Run(ctx context.Context) (*tandemv1.VersionSaved, error) {
	saved, err := p.publish(ctx)
	if err != nil {
		return nil, err
	}
	saved.Incumbents, err = p.incumbents(ctx)
	return saved, err
}

func (p *Publisher) publish(ctx context.Context) (*tandemv1.VersionSaved, error) {
	if v, err := p.earlier(ctx); v != nil || err != nil {
		return v, err
	}
	set, err := data.Load(ctx, p.Store, p.task.GetDatasetPrefix(), data.Options{Splits: []string{data.Test}, KeepRaw: true})
	if err != nil {
		return nil, err
	}
	ask := set.Split(data.Test)
	if ask.Rows == 0 { // then the probes are rows of training
		all, err := data.Load(ctx, p.Store, p.task.GetDatasetPrefix(), data.Options{Splits: []string{data.Train}, KeepRaw: true})
		if err != nil {
			return nil, err
		}
		ask = all.Split(data.Train)
	}
	c := p.task.GetCheckpoint()
	kept, tensors, err := ckpt.Load(ctx, p.Store, c.GetPrefix(), ckpt.Expect{Trial: c.GetTrialId(), DatasetID: p.task.GetLineage().GetDatasetId()})
	if err != nil {
		return nil, err
	}
	file, weights, err := p.Engine.Export(ctx, p.task.GetSpec(), set.Manifest.Shape, set.Manifest.Outputs(), modelState(tensors))
	if err != nil {
		return nil, fmt.Errorf("export checkpoint %s: %w", c.GetId(), err)
	}
	man, probes, err := p.describe(set, ask, kept, file)
	if err != nil {
		return nil, err
	}
	return p.commit(ctx, man, file, weights, probes)
}

// describe reads the file back, measures it, asks it about rows of ask and says what it is.
func (p *Publisher) describe(set *data.Set, ask *data.Split, kept ckpt.Manifest, file []byte) (version.Manifest, []version.Probe, error) {
	man := version.Manifest{
		Version: p.task.GetVersionId(), Model: p.task.GetModel(),
		Task: set.Manifest.Task, Features: set.Manifest.Features, Classes: set.Manifest.NumClasses, ClassNames: set.Manifest.ClassNames,
		Normalization: set.Manifest.Normalization, Lineage: lineageOf(p.task.GetLineage()), Libtorch: p.Engine.Libtorch(),
		Metrics: map[string]float64{},
	}
	man.Input, man.Outputs = version.Signatures(set.Manifest)
	model, err := p.Engine.Load(file)
	if err != nil {
		return man, nil, fmt.Errorf("read the exported model back: %w", err)
	}
	test := set.Split(data.Test)
	measured, err := measure(model, man, test, p.rows())
	if err != nil {
		return man, nil, err
	}
	for prefix, metrics := range map[string]map[string]float64{"test_": measured, "validation_": kept.Metrics} {
		for name, v := range metrics {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return man, nil, train.Permanent(fmt.Errorf("%s%s of checkpoint %s is %v: it is not fit to be published", prefix, name, p.task.GetCheckpoint().GetId(), v))
			}
			man.Metrics[prefix+name] = v
		}
	}
	probes, err := version.MakeProbes(model, man, ask.Raw)
	if err != nil {
		return man, nil, err
	}
	// A replica asks in this way before it serves: found out here, the job says so, and no deployment waits for ever.
	difference, err := version.AskProbes(model, man, probes)
	if err != nil {
		return man, nil, fmt.Errorf("ask the model the same again: %w", err)
	}
	if difference != "" {
		return man, nil, train.Permanent(fmt.Errorf("the model gives another answer when it is asked the same again, a row alone (%s): trace it after model.eval(), or use torch.jit.script", difference))
	}
	return man, probes, nil
}

// rows is how many are asked about at once.
func (p *Publisher) rows() int { return max(1, int(p.task.GetSpec().GetTraining().GetBatch())) }

// commit writes the version. Where another attempt was quicker, its version is as good.
func (p *Publisher) commit(ctx context.Context, man version.Manifest, file []byte, weights []safetensors.Tensor, probes []version.Probe) (*tandemv1.VersionSaved, error) {
	v, err := version.Save(ctx, p.Store, p.task.GetVersionPrefix(), man, file, weights, probes)
	if errors.Is(err, storage.ErrExists) {
		if v, err := p.earlier(ctx); v != nil || err != nil {
			return v, err
		}
	}
	if err != nil {
		return nil, err
	}
	p.Log.Info().Str("model", man.Model).Str("version", man.Version).Any("metrics", man.Metrics).Msg("version committed")
	return p.saved(v), nil
}

// earlier finds the version that an earlier attempt has committed; nil if there is none.
func (p *Publisher) earlier(ctx context.Context) (*tandemv1.VersionSaved, error) {
	v, err := version.Open(ctx, p.Store, p.task.GetVersionPrefix(), "")
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if got, want := v.Manifest.Lineage.Checkpoint, p.task.GetLineage().GetCheckpointId(); got != want {
		return nil, train.Permanent(fmt.Errorf("version %s was made of checkpoint %s, not of %s", p.task.GetVersionId(), got, want))
	}
	for _, f := range v.Manifest.Files {
		if _, err := v.Read(ctx, f.Name); err != nil {
			return nil, err
		}
	}
	p.Log.Info().Str("version", p.task.GetVersionId()).Msg("the version of an earlier attempt is whole")
	return p.saved(v), nil
}

func (p *Publisher) saved(v *version.Version) *tandemv1.VersionSaved {
	return &tandemv1.VersionSaved{
		VersionId: p.task.GetVersionId(), ManifestSha256: v.ManifestSHA256, Bytes: v.Bytes(), Metrics: v.Manifest.Metrics,
	}
}

func lineageOf(l *tandemv1.Lineage) version.Lineage {
	return version.Lineage{
		Job: l.GetJobId(), Trial: l.GetTrialId(), Checkpoint: l.GetCheckpointId(), Step: l.GetStep(),
		DatasetID: l.GetDatasetId(), Dataset: l.GetDataset(), SpecHash: l.GetSpecHash(), Seed: l.GetSeed(),
	}
}

// modelState takes the model's tensors out of a checkpoint.
func modelState(all []safetensors.Tensor) []safetensors.Tensor {
	var state []safetensors.Tensor
	for _, t := range all {
		if name, ok := strings.CutPrefix(t.Name, modelPrefix); ok {
			t.Name = name
			state = append(state, t)
		}
	}
	return state
}
