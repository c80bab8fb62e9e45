package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/version"
	"tandem.dev/worker/data"
)

// incumbents measures the versions that the new one has to be better than on the rows that say how good the new one is: those of the
// test split, or of the validation split where there is no other. What cannot be measured says why; an error is the store's.
func (p *Publisher) incumbents(ctx context.Context) ([]*tandemv1.IncumbentMeasured, error) {
	if len(p.task.GetIncumbents()) == 0 {
		return nil, nil
	}
	set, split, err := p.judge(ctx)
	if err != nil {
		return nil, err
	}
	var all []*tandemv1.IncumbentMeasured
	for _, of := range p.task.GetIncumbents() {
		measured := &tandemv1.IncumbentMeasured{VersionId: of.GetVersionId(), Metrics: map[string]float64{}}
		metrics, err := p.incumbent(ctx, of, set.Manifest, split)
		switch problem := (*incomparable)(nil); {
		case errors.As(err, &problem):
			measured.Problem = problem.Error()
		case err != nil:
			return nil, fmt.Errorf("measure version %s: %w", of.GetVersionId(), err)
		}
		for name, value := range metrics {
			measured.Metrics[split.Name+"_"+name] = value
		}
		p.Log.Info().Str("version", of.GetVersionId()).Any("metrics", measured.GetMetrics()).Str("problem", measured.GetProblem()).Msg("measured the version to be replaced")
		all = append(all, measured)
	}
	return all, nil
}

// judge returns the rows that versions are compared on.
func (p *Publisher) judge(ctx context.Context) (*data.Set, *data.Split, error) {
	for _, name := range []string{data.Test, data.Validation} {
		set, err := data.Load(ctx, p.Store, p.task.GetDatasetPrefix(), data.Options{Splits: []string{name}, KeepRaw: true})
		if err != nil {
			return nil, nil, err
		}
		if split := set.Split(name); split.Rows > 0 || name == data.Validation {
			return set, split, nil
		}
	}
	return nil, nil, nil
}

// incomparable says why a version cannot be measured on the rows of a dataset.
type incomparable struct{ error }

func (p *Publisher) incumbent(ctx context.Context, of *tandemv1.Incumbent, set dataset.Manifest, split *data.Split) (map[string]float64, error) {
	v, err := version.Open(ctx, p.Store, of.GetPrefix(), of.GetManifestSha256())
	if err == nil {
		err = fits(v.Manifest, set)
	}
	var file []byte
	if err == nil {
		file, err = v.Read(ctx, version.ModelFile)
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, version.ErrCorrupt) {
		return nil, &incomparable{fmt.Errorf("for its files are damaged (%w)", err)}
	}
	if err != nil {
		return nil, err
	}
	model, err := p.Engine.Load(file)
	if err != nil {
		return nil, &incomparable{fmt.Errorf("for its model cannot be loaded (%w)", err)}
	}
	metrics, err := measure(model, v.Manifest, split, p.rows())
	if err != nil {
		return nil, &incomparable{fmt.Errorf("for it does not answer (%w)", err)}
	}
	return metrics, nil
}

// fits says whether a version can answer about the rows of a dataset, and by the same classes.
func fits(m version.Manifest, set dataset.Manifest) error {
	switch {
	case m.Task != set.Task:
		return &incomparable{fmt.Errorf("for it is made for %s, and the dataset is for %s", m.Task, set.Task)}
	case !slices.Equal(m.Features, set.Features) || !slices.Equal(m.RowShape(), set.Shape):
		return &incomparable{errors.New("for it is made for other columns")}
	case m.Classes != set.NumClasses || !slices.Equal(m.ClassNames, set.ClassNames):
		return &incomparable{errors.New("for it is made for other classes")}
	}
	return nil
}
