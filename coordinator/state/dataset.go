package state

import (
	"fmt"
	"strconv"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Dataset returns a dataset by id.
func (v *View) Dataset(id string) (*tandemv1.Dataset, bool) {
	return get[*tandemv1.Dataset](v, datasetTable, id)
}

// Datasets returns all datasets by name and version.
func (v *View) Datasets() []*tandemv1.Dataset {
	return list[*tandemv1.Dataset](v, datasetTable, "name_prefix", "")
}

// DatasetsOf returns the versions of one dataset, oldest first.
func (v *View) DatasetsOf(name string) []*tandemv1.Dataset {
	return list[*tandemv1.Dataset](v, datasetTable, "name_prefix", join(v.key(name), ""))
}

// AllDatasets returns all datasets by id.
func (v *View) AllDatasets() []*tandemv1.Dataset { return all[*tandemv1.Dataset](v, datasetTable) }

// ResolveDataset finds a dataset by "name" (newest version), "name@version", id, or a unique prefix of an id.
// It fails with ErrNotFound or ErrAmbiguous.
func (v *View) ResolveDataset(ref string) (*tandemv1.Dataset, error) {
	name, version, pinned := strings.Cut(ref, "@")
	if !pinned {
		return resolve(v, datasetTable, "dataset", "data-", ref, v.DatasetsOf)
	}
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("dataset %q: %q is not a version number: %w", ref, version, ErrNotFound)
	}
	versions := v.DatasetsOf(name)
	for _, d := range versions {
		if d.GetVersion() == n {
			return d, nil
		}
	}
	if len(versions) == 0 {
		return nil, missing("dataset", name, near(name, v.Datasets()))
	}
	return nil, fmt.Errorf("dataset %q has no version %d, its newest is %d: %w", name, n, versions[len(versions)-1].GetVersion(), ErrNotFound)
}

// DatasetNeed says why a version of a dataset cannot be deleted; nil when no job that has not ended uses it, and no version
// that was trained on it is served.
func DatasetNeed(v *View, d *tandemv1.Dataset) *tandemv1.Reason {
	for _, j := range v.Jobs() {
		if !JobFinal(j.GetState()) && datasetOf(v, j) == d.GetId() {
			return NewReason(tandemv1.Reason_CODE_DATASET_USED, "job", j.GetId())
		}
	}
	for _, served := range DeploymentRows(v) {
		if ver, ok := v.Version(served.GetVersionId()); ok && ver.GetLineage().GetDatasetId() == d.GetId() {
			return NewReason(tandemv1.Reason_CODE_DATASET_SERVED, "version", fmt.Sprintf("%s@%d", ver.GetModel(), ver.GetNumber()))
		}
	}
	return nil
}

// datasetOf is the dataset that a job uses: its own, or that of the training whose checkpoint it publishes.
func datasetOf(v *View, j *tandemv1.Job) string {
	if c, ok := v.Checkpoint(j.GetSpec().GetPublish().GetCheckpointId()); ok {
		j, _ = v.Job(c.GetJobId())
	}
	return j.GetSpec().GetDatasetId()
}

// TrainedOn returns the dataset that the training of a checkpoint used; false when it was deleted.
func TrainedOn(v *View, c *tandemv1.Checkpoint) (*tandemv1.Dataset, bool) {
	j, _ := v.Job(c.GetJobId())
	return v.Dataset(j.GetSpec().GetDatasetId())
}
