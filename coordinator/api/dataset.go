package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/layout"
)

type datasets struct{ *API }

var (
	datasetIDRE   = regexp.MustCompile(`^data-[0-9a-z]{26}$`)
	datasetFileRE = regexp.MustCompile(`^(manifest\.json|[a-z]+-[0-9]{5}\.arrow)$`)
)

const (
	maxDatasetManifest = 32 << 20
	// maxShard is the largest shard that is verified here, in bytes: those that the CLI makes have 64 MiB of numbers.
	maxShard = 72 << 20
)

// BeginDataset implements DatasetService.
func (a datasets) BeginDataset(_ context.Context, req *connect.Request[tandemv1.BeginDatasetRequest]) (*connect.Response[tandemv1.BeginDatasetResponse], error) {
	if !spec.IsName(req.Msg.GetName()) {
		return nil, invalid("name: " + spec.NameRule)
	}
	return connect.NewResponse(&tandemv1.BeginDatasetResponse{Id: id.New("data")}), nil
}

// CreateDataset implements DatasetService.
func (a datasets) CreateDataset(ctx context.Context, req *connect.Request[tandemv1.CreateDatasetRequest]) (*connect.Response[tandemv1.CreateDatasetResponse], error) {
	if err := checkDataset(req.Msg); err != nil {
		return nil, err
	}
	store, err := a.deps.Store()
	if err != nil {
		return nil, err
	}
	if err := a.verify.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for another data set to be verified: %w", err)
	}
	row, err := uploaded(ctx, store, req.Msg)
	a.verify.Release(1)
	if err != nil {
		return nil, err
	}
	row.CreatedBy = From(ctx).Name
	res, after, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{Dataset: row}},
	})
	if err != nil {
		return nil, err
	}
	created, ok := after.Dataset(res.GetId())
	if !ok {
		return nil, fmt.Errorf("dataset %s: %w", res.GetId(), state.ErrNotFound)
	}
	return connect.NewResponse(&tandemv1.CreateDatasetResponse{Dataset: created}), nil
}

func checkDataset(req *tandemv1.CreateDatasetRequest) error {
	switch {
	case !spec.IsName(req.GetName()):
		return invalid("name: " + spec.NameRule)
	case !datasetIDRE.MatchString(req.GetId()):
		return invalid("id: must be the one that BeginDataset returned")
	case !spec.IsSHA256(req.GetManifestSha256()):
		return invalid("manifest_sha256: must be a SHA-256 in hexadecimal")
	}
	return nil
}

// uploaded reads every object of a dataset, compares it with the manifest, and describes what it found.
func uploaded(ctx context.Context, store storage.Store, req *tandemv1.CreateDatasetRequest) (*tandemv1.Dataset, error) {
	prefix := layout.Dataset(req.GetId())
	raw, err := storage.ReadAll(ctx, store, prefix+"/"+dataset.ManifestName, maxDatasetManifest)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, precondition("the manifest of the dataset was not uploaded")
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest of %s: %w", req.GetId(), err)
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != req.GetManifestSha256() {
		return nil, precondition(fmt.Sprintf("the uploaded manifest has SHA-256 %s, not %s: upload it again", got, req.GetManifestSha256()))
	}
	opened, err := dataset.Open(ctx, store, prefix)
	if err != nil {
		return nil, err
	}
	for _, split := range opened.Manifest.Splits {
		for _, sh := range split.Shards {
			if sh.Bytes > maxShard {
				return nil, invalid(fmt.Sprintf("shard %s has %d bytes, at most %d are allowed: make smaller ones, as tandem dataset create does", sh.Key, sh.Bytes, maxShard))
			}
		}
	}
	m, err := dataset.Verify(ctx, store, prefix)
	if err != nil {
		return nil, err
	}
	d := &tandemv1.Dataset{
		Id: req.GetId(), Name: req.GetName(), Prefix: prefix, ManifestSha256: req.GetManifestSha256(), Bytes: int64(len(raw)),
		Rows: map[string]int64{}, Shape: m.Shape, Task: string(m.Task), Classes: int64(m.NumClasses),
	}
	for _, s := range m.Splits {
		d.Rows[s.Name] = s.Rows
	}
	for _, s := range m.Shards() {
		d.Bytes += s.Bytes
	}
	return d, nil
}

// ListDatasets implements DatasetService.
func (a datasets) ListDatasets(ctx context.Context, _ *connect.Request[tandemv1.ListDatasetsRequest]) (*connect.Response[tandemv1.ListDatasetsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.ListDatasetsResponse{Datasets: v.Datasets()}), nil
}

// GetDataset implements DatasetService.
func (a datasets) GetDataset(ctx context.Context, req *connect.Request[tandemv1.GetDatasetRequest]) (*connect.Response[tandemv1.GetDatasetResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	d, err := v.ResolveDataset(req.Msg.GetDataset())
	if err != nil {
		return nil, err
	}
	manifest, err := a.manifest(ctx, d.GetPrefix())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.GetDatasetResponse{Dataset: d, ManifestJson: manifest}), nil
}

// DeleteDataset implements DatasetService. The objects are deleted by the leader's loop gc.
func (a datasets) DeleteDataset(ctx context.Context, req *connect.Request[tandemv1.DeleteDatasetRequest]) (*connect.Response[tandemv1.DeleteDatasetResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	if doneBefore(ctx, v, req.Msg) {
		return connect.NewResponse(&tandemv1.DeleteDatasetResponse{}), nil
	}
	going, cmd := v.DatasetsOf(req.Msg.GetDataset()), &tandemv1.DeleteDataset{Name: req.Msg.GetDataset()}
	if len(going) == 0 {
		d, err := v.ResolveDataset(req.Msg.GetDataset())
		if err != nil {
			return nil, err
		}
		going, cmd.Name, cmd.Version = []*tandemv1.Dataset{d}, d.GetName(), d.GetVersion()
	}
	if _, _, err := a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_DeleteDataset{DeleteDataset: cmd}}); err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.DeleteDatasetResponse{Datasets: going}), nil
}

// manifest reads the manifest of a dataset or version, as JSON.
func (a *API) manifest(ctx context.Context, prefix string) (string, error) {
	store, err := a.deps.Store()
	if err != nil {
		return "", err
	}
	b, err := storage.ReadAll(ctx, store, prefix+"/"+dataset.ManifestName, maxDatasetManifest)
	if err != nil {
		return "", fmt.Errorf("read the manifest of %s: %w", prefix, err)
	}
	return string(b), nil
}
