package main

import (
	"bytes"
	"cmp"
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

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	"tandem.dev/proto/inference"
	"tandem.dev/storage/dataset"
)

// maxInput is how many bytes are read of a file with input.
const maxInput = 64 << 20

// question is what a model is asked: a request of the protocol as somebody wrote it, or rows.
type question struct {
	body []byte // the request; nil for rows
	file string // where it was read, if it is one

	rows     [][]float32
	dims     []int64  // shape of a row
	batch    int      // rows that a request may have
	first    int      // number of the first row, from 1
	expected []string // labels of the rows, if the file has them
}

// tableOptions say how a CSV file is written, and which row of it is meant.
type tableOptions struct {
	comma    rune
	noHeader bool
	row      int // from 1; 0: all
}

// readInput makes a question of a file.
func (a *app) readInput(ctx context.Context, c *client.Client, model, path string, o tableOptions) (*question, error) {
	b, err := a.read(path, maxInput)
	if errors.Is(err, input.ErrTooLarge) {
		err = fmt.Errorf("%w: split it", err)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("read input: %w", err)}
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\uFEFF")))
	name, _, _ := strings.Cut(model, "@")
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		if !json.Valid(text) {
			return nil, &usageError{fmt.Errorf("%s is not valid JSON", path)}
		}
		q := &question{body: text, first: 1}
		if path != "-" {
			q.file = path
		}
		return q, nil
	case bytes.HasPrefix(text, []byte("[")):
		rows, err := jsonRows(text)
		if err != nil {
			return nil, &usageError{fmt.Errorf("%s: %w", path, err)}
		}
		return newQuestion(ctx, c, name, rows, 1, nil)
	}
	m, err := c.TrainedOn(ctx, model)
	if err != nil {
		return nil, err
	}
	t, err := readTable(bytes.NewReader(b), m, o)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", path, err)}
	}
	if t.filled > 0 {
		a.say("%s without a value filled with the mean of the column, as in the model's dataset", several(t.filled, "cell"))
	}
	return newQuestion(ctx, c, name, t.rows, max(1, o.row), t.expected)
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
				return nil, fmt.Errorf("row %d, value %d: %s is not a number", i+1, j+1, jsonText(v))
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

type csvTable struct {
	rows     [][]float32
	expected []string
	filled   int // cells without a value
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
		if len(cells) != len(c.Header) {
			return nil, fmt.Errorf("row %d (line %d) has %d cells instead of %d", n, line, len(cells), len(c.Header))
		}
		values := make([]float32, len(columns))
		for i, col := range columns {
			values[i], err = dataset.ParseCell(cells[col])
			if errors.Is(err, dataset.ErrMissing) && m != nil && m.Source.Missing == dataset.MissingMean {
				values[i], err = float32(m.Stats[i].Mean), nil
				t.filled++
			}
			if err != nil {
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

// pickColumns finds the features a model was trained with, and its label, which is -1 if it does not exist.
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

// newQuestion asks for rows of raw values, in the shape and the number that the model says it takes.
func newQuestion(ctx context.Context, c *client.Client, model string, rows [][]float32, first int, expected []string) (*question, error) {
	dims, batch, err := taken(ctx, c, model)
	if err != nil {
		return nil, err
	}
	width := int64(1)
	for _, d := range dims {
		width *= d
	}
	for i, r := range rows {
		if int64(len(r)) != width {
			return nil, &usageError{fmt.Errorf("row %d has %d values, the model takes %d (%s)", first+i, len(r), width, shape(dims))}
		}
	}
	return &question{rows: rows, dims: dims, batch: batch, first: first, expected: expected}, nil
}

// request is the one for the rows from lo to before hi.
func (q *question) request(lo, hi int) ([]byte, error) {
	data, err := json.Marshal(slices.Concat(q.rows[lo:hi]...))
	if err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	body, err := json.Marshal(map[string]any{"inputs": []tensor{{
		Name: "input", Datatype: "FP32", Shape: append([]int64{int64(hi - lo)}, q.dims...), Data: data,
	}}})
	if err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	return body, nil
}

// taken asks a served model for the shape of a row, and how many a request may have.
func taken(ctx context.Context, c *client.Client, model string) (dims []int64, rows int, err error) {
	b, err := c.REST(ctx, http.MethodGet, "/v2/models/"+url.PathEscape(model), nil, true)
	if err != nil {
		return nil, 0, err
	}
	var meta struct {
		Inputs     []tensor `json:"inputs"`
		Properties struct {
			Rows int `json:"max_rows"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(b, &meta); err != nil || len(meta.Inputs) != 1 || len(meta.Inputs[0].Shape) < 2 || meta.Properties.Rows < 0 {
		return nil, 0, fmt.Errorf("the metadata of %s does not say what it takes: %.200s", model, b)
	}
	return meta.Inputs[0].Shape[1:], cmp.Or(meta.Properties.Rows, inference.MaxRows), nil
}
