package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
)

// maxPredictRows is how many rows go into one request.
const maxPredictRows = 10_000

// inferInput is a request and what is known of its rows.
type inferInput struct {
	body     []byte
	first    int      // number of the first row, from 1
	expected []string // labels of the rows, if the file has them
}

// readInput makes a request of a file.
func (a *app) readInput(ctx context.Context, c *client.Client, model, path string, row int) (*inferInput, error) {
	in := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, &usageError{fmt.Errorf("read input: %w", err)}
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read input: %w", err)
	}
	text := strings.TrimSpace(string(b))
	name, _, _ := strings.Cut(model, "@")
	switch {
	case strings.HasPrefix(text, "{"):
		if !json.Valid(b) {
			return nil, &usageError{fmt.Errorf("%s is no JSON", path)}
		}
		return &inferInput{body: []byte(text), first: 1}, nil
	case strings.HasPrefix(text, "["):
		rows, err := jsonRows([]byte(text))
		if err != nil {
			return nil, &usageError{fmt.Errorf("%s: %w", path, err)}
		}
		return newInput(ctx, c, name, rows, 1, nil)
	}
	t, err := readTable(strings.NewReader(text), trainedOn(ctx, c, model), row)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return newInput(ctx, c, name, t.rows, max(1, row), t.expected)
}

// jsonRows reads [1, 2] as one row and [[1, 2], [3, 4]] as two.
func jsonRows(b []byte) ([][]float32, error) {
	var rows [][]float32
	if err := json.Unmarshal(b, &rows); err == nil {
		return rows, nil
	}
	var one []float32
	if err := json.Unmarshal(b, &one); err != nil {
		return nil, fmt.Errorf("neither a list of numbers nor a list of such lists: %w", err)
	}
	return [][]float32{one}, nil
}

// trainedOn is the manifest of the data a model was trained on; nil if it cannot be had.
func trainedOn(ctx context.Context, c *client.Client, model string) *dataset.Manifest {
	if name, _, numbered := strings.Cut(model, "@"); !numbered {
		if d, err := c.Deployments.GetDeployment(ctx, connect.NewRequest(&tandemv1.GetDeploymentRequest{Name: name})); err == nil {
			model = fmt.Sprintf("%s@%d", name, d.Msg.GetDeployment().GetVersion())
		}
	}
	v, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: model}))
	if err != nil {
		return nil
	}
	d, err := c.Datasets.GetDataset(ctx, connect.NewRequest(&tandemv1.GetDatasetRequest{Dataset: v.Msg.GetVersion().GetLineage().GetDatasetId()}))
	if err != nil {
		return nil
	}
	m, err := dataset.ParseManifest([]byte(d.Msg.GetManifestJson()))
	if err != nil {
		return nil
	}
	return &m
}

type csvTable struct {
	rows     [][]float32
	expected []string
}

// readTable reads the feature columns of a CSV file with a header: by name when the manifest is known, else all.
func readTable(r io.Reader, m *dataset.Manifest, row int) (*csvTable, error) {
	c := csv.NewReader(r)
	c.TrimLeadingSpace = true
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	columns, label := make([]int, len(header)), -1
	for i := range columns {
		columns[i] = i
	}
	if m != nil {
		label, columns = slices.Index(header, m.Label), columns[:0]
		for _, name := range m.Features {
			i := slices.Index(header, name)
			if i < 0 {
				return nil, fmt.Errorf("no column %q, which the model was trained with; the header is the first line of the file", name)
			}
			columns = append(columns, i)
		}
	}
	t := &csvTable{}
	for n := 1; ; n++ {
		cells, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if row > 0 && n != row {
			continue
		}
		if len(t.rows) == maxPredictRows {
			return nil, fmt.Errorf("more than %s rows: pick one with --row", count(maxPredictRows))
		}
		values := make([]float32, len(columns))
		for i, col := range columns {
			v, err := strconv.ParseFloat(strings.TrimSpace(cells[col]), 32)
			if err != nil {
				return nil, fmt.Errorf("row %d, column %s: %q is no number", n, header[col], cells[col])
			}
			values[i] = float32(v)
		}
		t.rows = append(t.rows, values)
		if label >= 0 {
			t.expected = append(t.expected, cells[label])
		}
	}
	if len(t.rows) == 0 && row > 0 {
		return nil, fmt.Errorf("no row %d in the file", row)
	}
	if len(t.rows) == 0 {
		return nil, errors.New("no rows")
	}
	return t, nil
}

// newInput makes the request for rows of raw values, in the shape that the model says it takes.
func newInput(ctx context.Context, c *client.Client, model string, rows [][]float32, first int, expected []string) (*inferInput, error) {
	dims, err := inputShape(ctx, c, model)
	if err != nil {
		return nil, err
	}
	width := int64(1)
	for _, d := range dims {
		width *= d
	}
	var flat []float32
	for i, r := range rows {
		if int64(len(r)) != width {
			return nil, &usageError{fmt.Errorf("row %d has %d values, the model takes %d (%s)", first+i, len(r), width, shape(dims))}
		}
		flat = append(flat, r...)
	}
	data, err := json.Marshal(flat)
	if err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	body, err := json.Marshal(map[string]any{"inputs": []tensor{{
		Name: "input", Datatype: "FP32", Shape: append([]int64{int64(len(rows))}, dims...), Data: data,
	}}})
	if err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	return &inferInput{body: body, first: first, expected: expected}, nil
}

// inputShape asks a served model for the shape of one row.
func inputShape(ctx context.Context, c *client.Client, model string) ([]int64, error) {
	b, err := c.REST(ctx, http.MethodGet, "/v2/models/"+url.PathEscape(model), nil, true)
	if err != nil {
		return nil, err
	}
	var meta struct {
		Inputs []tensor `json:"inputs"`
	}
	if err := json.Unmarshal(b, &meta); err != nil || len(meta.Inputs) != 1 || len(meta.Inputs[0].Shape) < 2 {
		return nil, fmt.Errorf("the metadata of %s does not say what it takes: %.200s", model, b)
	}
	return meta.Inputs[0].Shape[1:], nil
}
