package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/layout"
)

type datasets struct{ *API }

var datasetFileRE = regexp.MustCompile(`^(manifest\.json|[a-z]+-[0-9]{5}\.arrow)$`)

const (
	maxDatasetManifest = 32 << 20
	// maxShard is the largest shard that may be uploaded, in bytes: those that the CLI makes have 64 MiB of numbers.
	maxShard = 72 << 20
)

// BeginDataset implements DatasetService.
func (a datasets) BeginDataset(
	ctx context.Context, req *connect.Request[tandemv1.BeginDatasetRequest],
) (*connect.Response[tandemv1.BeginDatasetResponse], error) {
	if !spec.IsName(req.Msg.GetName()) {
		return nil, invalid("name: " + spec.NameRule)
	}
	if From(ctx).Project == state.AllProjects {
		return nil, errNowhere
	}
	return connect.NewResponse(&tandemv1.BeginDatasetResponse{Id: id.New("data")}), nil
}

// CreateDataset implements DatasetService. What clients upload is copied, checked, to where no upload goes: so nothing that is written
// there later, by whichever coordinator, changes a dataset that was committed.
func (a datasets) CreateDataset(ctx context.Context, req *connect.Request[tandemv1.CreateDatasetRequest]) (*connect.Response[tandemv1.CreateDatasetResponse], error) {
	if From(ctx).Project == state.AllProjects {
		return nil, errNowhere
	}
	if err := checkDataset(req.Msg); err != nil {
		return nil, err
	}
	store, err := a.deps.Store()
	if err != nil {
		return nil, err
	}
	row, err := a.uploaded(ctx, store, req.Msg)
	if err != nil {
		return nil, err
	}
	row.CreatedBy, row.Project = From(ctx).Name, From(ctx).Project
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
	if _, err := storage.DeleteAll(ctx, store, layout.Upload(created.GetId())+"/"); err != nil {
		a.deps.Log.Warn().Err(err).Str("dataset", created.GetId()).Msg("api: the upload of a committed dataset stays in the store until the loop gc deletes it")
	}
	return connect.NewResponse(&tandemv1.CreateDatasetResponse{Dataset: created}), nil
}

// begunRule is what begun says of an id.
const begunRule = "must be the one that BeginDataset returned, at most a day ago"

// begun says whether BeginDataset may have returned an id. It keeps no row of it: an id names a place that only its caller was told of,
// and gives nothing that a token does not. An old one is refused, so that none comes again after its dataset was deleted.
func begun(dataset string, now time.Time) bool {
	made, ok := id.Time("data", dataset)
	return ok && now.Sub(made).Abs() < fsm.UploadLimit
}

func deletedDataset(id string) error {
	return &refusal{connect.CodeFailedPrecondition, &tandemv1.Reason{Code: tandemv1.Reason_CODE_DATASET_GONE, Args: map[string]string{"dataset": id}}}
}

func checkDataset(req *tandemv1.CreateDatasetRequest) error {
	switch {
	case !spec.IsName(req.GetName()):
		return invalid("name: " + spec.NameRule)
	case !begun(req.GetId(), time.Now()):
		return invalid("id: " + begunRule)
	case !spec.IsSHA256(req.GetManifestSha256()):
		return invalid("manifest_sha256: must be a SHA-256 in hexadecimal")
	}
	return nil
}

// uploaded finds what is to be committed: it reads every object that was uploaded, compares it with the manifest and copies it. A request
// that comes again after the dataset was committed has no upload any more, and proposes what there is.
func (a datasets) uploaded(ctx context.Context, store storage.Store, req *tandemv1.CreateDatasetRequest) (*tandemv1.Dataset, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	if d, ok := v.Dataset(req.GetId()); ok {
		return state.Clone(d), nil
	}
	if _, elsewhere := v.Whole().Dataset(req.GetId()); elsewhere {
		return nil, state.Missing("dataset", req.GetId())
	}
	if v.GarbageBelow(layout.Datasets(req.GetId())) {
		return nil, deletedDataset(req.GetId())
	}
	if err := a.verify.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for another dataset to be verified: %w", err)
	}
	defer a.verify.Release(1)
	from, to := layout.Upload(req.GetId()), layout.Dataset(req.GetId(), req.GetManifestSha256())
	raw, err := storage.ReadAll(ctx, store, from+"/"+dataset.ManifestName, maxDatasetManifest)
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
	m, err := dataset.Copy(ctx, store, raw, from, to)
	if errors.Is(err, dataset.ErrCorrupt) { // nothing of the cluster's is: it is what the client sent
		return nil, invalid(err.Error() + ": make the dataset again and upload all of it")
	}
	if err != nil {
		return nil, err
	}
	d := &tandemv1.Dataset{
		Id: req.GetId(), Name: req.GetName(), Prefix: to, ManifestSha256: req.GetManifestSha256(), Bytes: int64(len(raw)),
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
	return answer(&tandemv1.GetDatasetResponse{Dataset: d, ManifestJson: manifest}, err)
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
	project, name, err := named(ctx, "dataset", req.Msg.GetDataset())
	if err != nil {
		return nil, err
	}
	going, cmd := v.DatasetsOf(req.Msg.GetDataset()), &tandemv1.DeleteDataset{Name: name, Project: project}
	if len(going) == 0 {
		d, err := v.ResolveDataset(req.Msg.GetDataset())
		if err != nil {
			return nil, err
		}
		going, cmd.Name, cmd.Version = []*tandemv1.Dataset{d}, d.GetName(), d.GetVersion()
		if cmd.Project = d.GetProject(); cmd.Project == state.DefaultProject {
			cmd.Project = ""
		}
	}
	_, _, err = a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_DeleteDataset{DeleteDataset: cmd}})
	return answer(&tandemv1.DeleteDatasetResponse{Datasets: going}, err)
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
