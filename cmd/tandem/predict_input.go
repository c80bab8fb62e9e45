package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
)

const (
	// maxPredictRows is how many rows go into one request.
	maxPredictRows = 10_000
	// maxInput is how many bytes are read of it.
	maxInput = 64 << 20
)

// inferInput is a request and what is known of its rows.
type inferInput struct {
	body     []byte
	first    int      // number of the first row, from 1
	expected []string // labels of the rows, if the file has them
}

// tableOptions say how a CSV file is written, and which row of it is meant.
type tableOptions struct {
	comma    rune
	noHeader bool
	row      int // from 1; 0: all
}

// readInput makes a request of a file.
func (a *app) readInput(ctx context.Context, c *client.Client, model, path string, o tableOptions) (*inferInput, error) {
	b, err := a.read(path, maxInput)
	if errors.Is(err, input.ErrTooLarge) {
		err = fmt.Errorf("%w, which one request may hold: split it", err)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("read input: %w", err)}
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\uFEFF")))
	name, _, _ := strings.Cut(model, "@")
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		if !json.Valid(text) {
			return nil, &usageError{fmt.Errorf("%s is no JSON", path)}
		}
		return &inferInput{body: text, first: 1}, nil
	case bytes.HasPrefix(text, []byte("[")):
		rows, err := jsonRows(text)
		if err != nil {
			return nil, &usageError{fmt.Errorf("%s: %w", path, err)}
		}
		return newInput(ctx, c, name, rows, 1, nil)
	}
	t, err := readTable(bytes.NewReader(b), trainedOn(ctx, c, model), o)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return newInput(ctx, c, name, t.rows, max(1, o.row), t.expected)
}

// jsonRows reads [1, 2] as one row and [[1, 2], [3, 4]] as two. Every value is a number: null is none.
func jsonRows(b []byte) ([][]float32, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var list []any
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("neither a list of numbers nor a list of such lists: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the list: write one list, of numbers or of such lists")
	}
	if len(list) == 0 {
		return nil, errors.New("no rows")
	}
	if _, nested := list[0].([]any); !nested {
		list = []any{list}
	}
	rows := make([][]float32, len(list))
	for i, entry := range list {
		values, ok := entry.([]any)
		if !ok {
			return nil, fmt.Errorf("row %d is %s, not a list of numbers", i+1, jsonText(entry))
		}
		rows[i] = make([]float32, len(values))
		for j, v := range values {
			n, ok := v.(json.Number)
			if !ok {
				return nil, fmt.Errorf("row %d, value %d: %s is no number", i+1, j+1, jsonText(v))
			}
			x, err := strconv.ParseFloat(n.String(), 32)
			if err != nil {
				return nil, fmt.Errorf("row %d, value %d: %.40s is not finite as a 32-bit number", i+1, j+1, n)
			}
			rows[i][j] = float32(x)
		}
	}
	return rows, nil
}

// jsonText is a short form of what stands where a number should.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "something else"
	}
	return short(string(b), 40)
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

// readTable reads the feature columns of a CSV file as the dataset was read: by name when the manifest is known, else all.
func readTable(r io.Reader, m *dataset.Manifest, o tableOptions) (*csvTable, error) {
	c, err := dataset.NewReader(r, o.comma, o.noHeader)
	if err != nil {
		return nil, err
	}
	columns, label, err := pickColumns(c, m, o)
	if err != nil {
		return nil, err
	}
	t := &csvTable{}
	for n := 1; ; n++ {
		cells, line, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if o.row > 0 && n != o.row {
			continue
		}
		if len(t.rows) == maxPredictRows {
			return nil, fmt.Errorf("more than %s rows: pick one with --row", count(maxPredictRows))
		}
		if len(cells) != len(c.Header) {
			return nil, fmt.Errorf("row %d (line %d) has %d cells instead of %d", n, line, len(cells), len(c.Header))
		}
		values := make([]float32, len(columns))
		for i, col := range columns {
			if values[i], err = dataset.ParseCell(cells[col]); err != nil {
				return nil, fmt.Errorf("row %d (line %d), column %s: %w", n, line, c.Header[col], err)
			}
		}
		t.rows = append(t.rows, values)
		if label >= 0 {
			t.expected = append(t.expected, cells[label])
		}
	}
	if len(t.rows) == 0 && o.row > 0 {
		return nil, fmt.Errorf("no row %d in the file", o.row)
	}
	if len(t.rows) == 0 {
		return nil, errors.New("no rows")
	}
	return t, nil
}

// pickColumns finds the features a model was trained with, and its label, which is -1 if it is not there.
func pickColumns(c *dataset.Reader, m *dataset.Manifest, o tableOptions) (columns []int, label int, err error) {
	if m == nil {
		for i := range c.Header {
			columns = append(columns, i)
		}
		return columns, -1, nil
	}
	if o.noHeader && len(c.Header) == len(m.Features) {
		// Nothing but the features, whatever they are called.
		c.Header = m.Features
	}
	for _, name := range m.Features {
		i := slices.Index(c.Header, name)
		if i < 0 && o.noHeader {
			return nil, 0, fmt.Errorf("the file has %d columns without names, the model takes %d: leave out the others, or name them in a header", len(c.Header), len(m.Features))
		}
		if i < 0 {
			return nil, 0, fmt.Errorf("no column %q, which the model was trained with; the columns are %s", name, c.Columns())
		}
		columns = append(columns, i)
	}
	return columns, slices.Index(c.Header, m.Label), nil
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
