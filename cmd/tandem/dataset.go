package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
)

func (a *app) datasetCommand() *cobra.Command {
	return group("dataset", "Make, show and delete datasets",
		a.datasetCreateCommand(), a.datasetListCommand(), a.datasetDescribeCommand(), a.datasetDeleteCommand())
}

func (a *app) datasetListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List datasets",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Datasets.ListDatasets(ctx, connect.NewRequest(&tandemv1.ListDatasetsRequest{}))
			if err != nil {
				return err
			}
			g := grid{
				header: []string{"NAME", "VERSION", "TASK", "SHAPE", "TRAIN", "VALIDATION", "TEST", "SIZE", "AGE", "ID", "BY"},
				wide:   2,
				empty:  "No datasets. Make one: tandem dataset create NAME --from FILE.csv --label COLUMN",
			}
			for _, d := range res.Msg.GetDatasets() {
				rows := d.GetRows()
				g.rows = append(g.rows, []string{
					d.GetName(), number(d.GetVersion()), task(d), shape(d.GetShape()), count(rows[dataset.Train]), count(rows[dataset.Validation]),
					count(rows[dataset.Test]), size(d.GetBytes()), age(d.GetCreatedAt()), d.GetId(), d.GetCreatedBy(),
				})
			}
			return a.show(res.Msg, g)
		}),
	}
}

func task(d *tandemv1.Dataset) string {
	if d.GetClasses() > 0 {
		return fmt.Sprintf("%s, %d classes", d.GetTask(), d.GetClasses())
	}
	return d.GetTask()
}

func (a *app) datasetDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "describe DATASET",
		Short:             "Show a dataset: NAME (newest), NAME@VERSION or an id",
		Args:              want("DATASET"),
		ValidArgsFunction: a.complete(datasetNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Datasets.GetDataset(ctx, connect.NewRequest(&tandemv1.GetDatasetRequest{Dataset: args[0]}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, describeDataset(res.Msg)...)
		}),
	}
}

func (a *app) datasetDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME@VERSION... | NAME...",
		Short: "Delete versions of datasets, for good",
		Long: `Delete a version of a dataset (NAME@VERSION or its id), or all of them (NAME). It is refused while a job that has not ended uses
the version, or while a model that was trained on it is served. Version numbers are never reused.`,
		Example:           "  tandem dataset delete digits@1\n  tandem dataset delete digits",
		Args:              some("DATASET"),
		ValidArgsFunction: a.complete(datasetNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(fmt.Sprintf("Delete %s for good?", everyVersion("dataset", args))); err != nil {
				return err
			}
			for _, ref := range args {
				res, err := c.Datasets.DeleteDataset(ctx, connect.NewRequest(&tandemv1.DeleteDatasetRequest{Dataset: ref, RequestId: a.newRequestID()}))
				if err != nil {
					return err
				}
				var names []string
				for _, d := range res.Msg.GetDatasets() {
					names = append(names, fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion()))
				}
				if err := a.show(res.Msg, deleted(ref, names)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func describeDataset(r *tandemv1.GetDatasetResponse) []part {
	d := r.GetDataset()
	f := fields{
		{"Dataset", fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion())},
		{"Id", d.GetId()},
		{"Task", task(d)},
		{"Shape", shape(d.GetShape())},
		{"Size", size(d.GetBytes())},
		{"Made", moment(d.GetCreatedAt()) + " by " + d.GetCreatedBy()},
		{"Manifest", "sha256 " + d.GetManifestSha256()},
	}
	m, err := dataset.ParseManifest([]byte(r.GetManifestJson()))
	if err != nil {
		g := grid{title: "Rows", header: []string{"SPLIT", "ROWS"}}
		for _, name := range slices.Sorted(maps.Keys(d.GetRows())) {
			g.rows = append(g.rows, []string{name, count(d.GetRows()[name])})
		}
		return []part{f, g}
	}
	split := fmt.Sprintf("%s, seed %d", m.Ratio, m.Seed)
	if m.Task == dataset.TaskLanguage {
		split = fmt.Sprintf("%s, in the order of the text", m.Ratio)
	}
	f = append(f, fields{
		{"Label", m.Label},
		{"Features", strconv.Itoa(m.FeatureDim())},
		{"Normalized by", string(m.Normalization.Method)},
		{"Split", split},
		{"Source", fmt.Sprintf("%s rows, %s bad, %s without a value left out, %s duplicates; sha256 %s", count(m.Source.Rows),
			count(m.Source.BadRows), count(m.Source.DroppedRows), count(m.Source.Duplicates), m.Source.SHA256)},
	}...)
	return []part{f, splitGrid(m)}
}

// splitGrid shows how many rows of each class each split has.
func splitGrid(m dataset.Manifest) grid {
	g := grid{title: "Rows", header: []string{"SPLIT", "ROWS"}}
	classes := min(len(m.Splits[0].ClassCounts), maxClassColumns) // a text has none
	for i := range classes {
		name := strconv.Itoa(i)
		if len(m.ClassNames) > 0 {
			name = m.ClassNames[i]
		}
		g.header = append(g.header, name)
	}
	for _, s := range m.Splits {
		row := []string{s.Name, count(s.Rows)}
		for i := range classes {
			row = append(row, count(s.ClassCounts[i]))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

// maxClassColumns is how many classes fit on a screen.
const maxClassColumns = 12
