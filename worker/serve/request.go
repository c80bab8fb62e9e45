package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"tandem.dev/worker/publish"
)

// Request is an inference request that passed all checks.
type Request struct {
	ID      string
	Rows    int
	Raw     []float32 // Rows * features, before normalisation
	Outputs []string  // names of the outputs wanted, in order
}

// Bounds of what a request may repeat: a few bytes of each cost hundreds in memory.
const (
	maxID         = 1 << 10 // bytes
	maxTensors    = 16      // and dimensions
	maxParameters = 4 << 10 // bytes, of one tensor or output
)

type inferRequest struct {
	ID      string             `json:"id"`
	Inputs  few[inputTensor]   `json:"inputs"`
	Outputs few[requestOutput] `json:"outputs"`
}

type inputTensor struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      few[int64]      `json:"shape"`
	Parameters parameters      `json:"parameters"`
	Data       json.RawMessage `json:"data"`
}

type requestOutput struct {
	Name       string     `json:"name"`
	Parameters parameters `json:"parameters"`
}

// few is a short list of a request. It is counted before it is read.
type few[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *few[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	t, err := d.Token()
	if t == nil && err == nil { // null
		return nil
	}
	if err != nil || t != json.Delim('[') {
		return errors.New("inputs, outputs and shape must be arrays")
	}
	for d.More() {
		if len(*l) == maxTensors {
			return fmt.Errorf("inputs, outputs and shape may have at most %d elements each", maxTensors)
		}
		var v T
		if err := d.Decode(&v); err != nil {
			return err
		}
		*l = append(*l, v)
	}
	return nil
}

// parameters are those of a tensor; they are short.
type parameters map[string]json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (p *parameters) UnmarshalJSON(text []byte) error {
	if len(text) > maxParameters {
		return fmt.Errorf("parameters may have at most %d bytes", maxParameters)
	}
	return json.Unmarshal(text, (*map[string]json.RawMessage)(p))
}

// Decode reads the body of an inference request for a version. Its errors tell the client
// what to change.
func Decode(body []byte, m publish.Manifest, maxRows int) (Request, error) {
	var in inferRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return Request{}, fmt.Errorf("the body is no inference request: %w", err)
	}
	if len(in.ID) > maxID {
		return Request{}, fmt.Errorf("id has %d bytes; at most %d are allowed", len(in.ID), maxID)
	}
	want := m.Input
	if len(in.Inputs) != 1 {
		return Request{}, fmt.Errorf("inputs has %d tensors; send one, named %q", len(in.Inputs), want.Name)
	}
	t := in.Inputs[0]
	switch {
	case t.Name != want.Name:
		return Request{}, fmt.Errorf("inputs[0].name is %q; the model's input is %q", t.Name, want.Name)
	case t.Datatype != want.Datatype:
		return Request{}, fmt.Errorf("inputs[0].datatype is %q; the model takes %s", t.Datatype, want.Datatype)
	case t.Parameters["binary_data_size"] != nil:
		return Request{}, errors.New("inputs[0] uses the binary tensor extension, which is not supported; send data as JSON numbers")
	}
	rows, err := rowsOf(t.Shape, m, maxRows)
	if err != nil {
		return Request{}, err
	}
	raw, err := numbers(t.Data, t.Shape, rows*m.Dim())
	if err != nil {
		return Request{}, fmt.Errorf("inputs[0].data: %w", err)
	}
	req := Request{ID: in.ID, Rows: rows, Raw: raw}
	for _, o := range m.Outputs {
		req.Outputs = append(req.Outputs, o.Name)
	}
	if len(in.Outputs) > 0 {
		known := req.Outputs
		req.Outputs = nil
		for i, o := range in.Outputs {
			if !slices.Contains(known, o.Name) {
				return Request{}, fmt.Errorf("outputs[%d].name is %q; the model gives %q", i, o.Name, known)
			}
			if slices.Contains(req.Outputs, o.Name) {
				return Request{}, fmt.Errorf("outputs[%d].name is %q once more: ask for each output once", i, o.Name)
			}
			req.Outputs = append(req.Outputs, o.Name)
		}
	}
	return req, nil
}

// answerBytes bounds the JSON of an answer from above, before any of it is made.
func answerBytes(in Request, m publish.Manifest) int64 {
	const (
		number = 16 // bytes of a float32 with its comma, such as -1.1754944e-38
		frame  = 4 << 10
	)
	perRow := int64(0)
	for _, s := range m.Outputs {
		if !slices.Contains(in.Outputs, s.Name) {
			continue
		}
		each, values := int64(number), int64(1)
		for _, d := range s.Shape[1:] {
			values *= d
		}
		if s.Name == "label" {
			for _, name := range m.ClassNames {
				each = max(each, 6*int64(len(name))+3) // a byte can become \u00xx
			}
		}
		perRow += each * values
	}
	return int64(len(in.ID))*6 + frame + int64(in.Rows)*perRow
}

// rowsOf takes [n, *row shape] and [n, features].
func rowsOf(shape []int64, m publish.Manifest, maxRows int) (int, error) {
	fits := len(shape) > 0 && (slices.Equal(shape[1:], m.RowShape()) || slices.Equal(shape[1:], []int64{int64(m.Dim())}))
	if !fits {
		return 0, fmt.Errorf("inputs[0].shape is %v; the model takes %v, where -1 is the number of rows", shape, m.Input.Shape)
	}
	if shape[0] < 1 || shape[0] > int64(maxRows) {
		return 0, fmt.Errorf("inputs[0].shape has %d rows; send 1 to %d in a request", shape[0], maxRows)
	}
	return int(shape[0]), nil
}

// numbers reads want numbers from a JSON array, flat or nested as the shape says. The text
// is known to be valid JSON.
func numbers(text json.RawMessage, shape []int64, want int) ([]float32, error) {
	p := &arrayParser{text: text}
	p.out = make([]float32, 0, min(want, len(text)/2+1))
	if err := p.array(); err != nil {
		return nil, err
	}
	if len(p.out) != want {
		return nil, fmt.Errorf("it has %d numbers; shape %v needs %d", len(p.out), shape, want)
	}
	if len(p.sizes) > 1 && !slices.Equal(p.sizes, shape) {
		return nil, fmt.Errorf("it is nested as %v, but the shape is %v; nest it so or send it flat", p.sizes, shape)
	}
	return p.out, nil
}

// arrayParser reads nested arrays of equal sizes.
type arrayParser struct {
	text  []byte
	at    int
	depth int
	leaf  int     // depth of the numbers; 0: not seen yet
	sizes []int64 // of the arrays at each depth; -1: not seen to the end yet
	out   []float32
}

const maxNesting = 16

func (p *arrayParser) skip() byte {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

func (p *arrayParser) array() error {
	if p.skip() != '[' {
		return errors.New("it must be an array of numbers")
	}
	if p.depth++; p.depth > maxNesting {
		return errors.New("it is nested too deeply")
	}
	if len(p.sizes) < p.depth {
		p.sizes = append(p.sizes, -1)
	}
	p.at++
	n := int64(0)
	for p.skip() != ']' {
		if n > 0 {
			p.at++ // the comma
			p.skip()
		}
		if err := p.element(); err != nil {
			return err
		}
		n++
	}
	p.at++
	if size := p.sizes[p.depth-1]; size >= 0 && size != n {
		return fmt.Errorf("it is ragged: arrays of %d and of %d elements side by side", size, n)
	}
	p.sizes[p.depth-1] = n
	p.depth--
	return nil
}

func (p *arrayParser) element() error {
	if p.skip() == '[' {
		if p.leaf == p.depth {
			return errors.New("numbers and arrays are mixed")
		}
		return p.array()
	}
	start := p.at
	for p.at < len(p.text) && p.text[p.at] != ',' && p.text[p.at] != ']' {
		p.at++
	}
	token := string(trimRight(p.text[start:p.at]))
	if c := token[0]; c != '-' && (c < '0' || c > '9') {
		return fmt.Errorf("element %d is %.40s, not a number", len(p.out), token)
	}
	if p.leaf != 0 && p.leaf != p.depth {
		return errors.New("numbers and arrays are mixed")
	}
	p.leaf = p.depth
	v, err := strconv.ParseFloat(token, 32)
	if err != nil || math.IsInf(v, 0) {
		return fmt.Errorf("element %d is %.40s, which is too large for a 32-bit float", len(p.out), token)
	}
	p.out = append(p.out, float32(v))
	return nil
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t' || b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
