package client

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
)

// TrainedOn is the manifest of the data a model was trained on, as it is served; nil if there is none, as of a model or a dataset that was
// deleted.
func (c *Client) TrainedOn(ctx context.Context, model string) (*dataset.Manifest, error) {
	m, err := c.lineage(ctx, model)
	switch {
	case connect.CodeOf(err) == connect.CodeNotFound:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find out which columns %s takes: %w; values in order, as a JSON list, need no names of columns", model, err)
	}
	return m, nil
}

func (c *Client) lineage(ctx context.Context, model string) (*dataset.Manifest, error) {
	if name, _, numbered := strings.Cut(model, "@"); !numbered {
		d, err := c.Deployments.GetDeployment(ctx, connect.NewRequest(&tandemv1.GetDeploymentRequest{Name: name}))
		switch {
		case err == nil:
			model = fmt.Sprintf("%s@%d", name, d.Msg.GetDeployment().GetVersion())
		case connect.CodeOf(err) != connect.CodeNotFound:
			return nil, err
		}
	}
	v, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: model}))
	if err != nil {
		return nil, err
	}
	id := v.Msg.GetVersion().GetLineage().GetDatasetId()
	d, err := c.Datasets.GetDataset(ctx, connect.NewRequest(&tandemv1.GetDatasetRequest{Dataset: id}))
	if err != nil {
		return nil, err
	}
	m, err := dataset.ParseManifest([]byte(d.Msg.GetManifestJson()))
	return &m, err
}
