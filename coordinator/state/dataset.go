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
	return list[*tandemv1.Dataset](v, datasetTable, "name_prefix", join(name, ""))
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
		return nil, fmt.Errorf("dataset %q: %q is no version number: %w", ref, version, ErrNotFound)
	}
	versions := v.DatasetsOf(name)
	for _, d := range versions {
		if d.GetVersion() == n {
			return d, nil
		}
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("dataset %q: %w", name, ErrNotFound)
	}
	return nil, fmt.Errorf("dataset %q has no version %d, its newest is %d: %w", name, n, versions[len(versions)-1].GetVersion(), ErrNotFound)
}
