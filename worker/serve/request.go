package serve

import (
	"fmt"
	"slices"

	"tandem.dev/storage/dataset"
	"tandem.dev/storage/version"
)

// Request is an inference request that passed all checks.
type Request struct {
	ID      string
	Rows    int
	Raw     []float32 // Rows * features, before normalisation
	Outputs []Output  // those wanted, in order
}

// Output is an output that a request wants.
type Output struct {
	Name   string
	Binary bool // its data follow the JSON of the answer
}

// Decode reads the body of an inference request for a version; data are the bytes that follow its JSON, nil where none do. Its errors
// tell the client what to change.
func Decode(text, data []byte, m version.Manifest, maxRows int) (Request, error) {
	in, err := parse(text)
	if err != nil {
		return Request{}, err
	}
	if err := in.Parameters.known("parameters"); err != nil {
		return Request{}, err
	}
	if len(in.Inputs) != 1 {
		return Request{}, fmt.Errorf("inputs has %d tensors; send one, named %q", len(in.Inputs), m.Input.Name)
	}
	req := Request{ID: in.ID}
	if req.Rows, req.Raw, err = in.Inputs[0].values(data, m, maxRows); err != nil {
		return Request{}, err
	}
	req.Outputs, err = in.wanted(m)
	return req, err
}

// values are those of the one input tensor.
func (t inputTensor) values(data []byte, m version.Manifest, maxRows int) (rows int, raw []float32, err error) {
	switch {
	case t.Name != m.Input.Name:
		return 0, nil, fmt.Errorf("inputs[0].name is %q; the model's input is %q", t.Name, m.Input.Name)
	case t.Datatype != m.Input.Datatype:
		return 0, nil, fmt.Errorf("inputs[0].datatype is %q; the model takes %s", t.Datatype, m.Input.Datatype)
	}
	if err := t.Parameters.known("inputs[0].parameters"); err != nil {
		return 0, nil, err
	}
	if rows, err = rowsOf(t.Shape, m, maxRows); err != nil {
		return 0, nil, err
	}
	size, binary, err := t.Parameters.size("inputs[0].parameters", "binary_data_size")
	switch {
	case err != nil:
		return 0, nil, err
	case binary && t.Data != nil:
		return 0, nil, fmt.Errorf("inputs[0] has data and binary_data_size: send one of them")
	case binary:
		raw, err = floats(data, size, t.Shape, rows*m.Dim())
	case len(data) > 0:
		return 0, nil, fmt.Errorf("%d bytes follow the JSON, but no input has binary_data_size", len(data))
	default:
		raw, err = numbers(t.Data, t.Shape, rows*m.Dim())
	}
	if err != nil {
		return 0, nil, fmt.Errorf("inputs[0].data: %w", err)
	}
	return rows, raw, tokens(raw, m)
}

// tokens refuses what a model of text cannot look up.
func tokens(raw []float32, m version.Manifest) error {
	if m.Task != dataset.TaskLanguage {
		return nil
	}
	for i, v := range raw {
		if v < 0 || v >= float32(m.Classes) || v != float32(int(v)) {
			return fmt.Errorf("inputs[0].data: element %d is %v; the model takes bytes, whole numbers from 0 to %d", i, v, m.Classes-1)
		}
	}
	return nil
}

// wanted are the outputs that a request names, or all.
func (in inferRequest) wanted(m version.Manifest) ([]Output, error) {
	binary, _, err := in.Parameters.flag("parameters", "binary_data_output")
	if err != nil {
		return nil, err
	}
	var known []string
	var all []Output
	for _, o := range m.Outputs {
		known = append(known, o.Name)
		all = append(all, Output{o.Name, binary})
	}
	if len(in.Outputs) == 0 {
		return all, nil
	}
	var wanted []Output
	for i, o := range in.Outputs {
		place := fmt.Sprintf("outputs[%d]", i)
		switch {
		case !slices.Contains(known, o.Name):
			return nil, fmt.Errorf("%s.name is %q; the model gives %q", place, o.Name, known)
		case slices.ContainsFunc(wanted, func(w Output) bool { return w.Name == o.Name }):
			return nil, fmt.Errorf("%s.name is %q once more: ask for each output once", place, o.Name)
		}
		if err := o.Parameters.known(place + ".parameters"); err != nil {
			return nil, err
		}
		own, given, err := o.Parameters.flag(place+".parameters", "binary_data")
		if err != nil {
			return nil, err
		}
		if !given {
			own = binary
		}
		wanted = append(wanted, Output{o.Name, own})
	}
	return wanted, nil
}

// rowsOf takes [n, *row shape] and [n, features].
func rowsOf(shape []int64, m version.Manifest, maxRows int) (int, error) {
	fits := len(shape) > 0 && (slices.Equal(shape[1:], m.RowShape()) || slices.Equal(shape[1:], []int64{int64(m.Dim())}))
	if !fits {
		return 0, fmt.Errorf("inputs[0].shape is %v; the model takes %v, where -1 is the number of rows", shape, m.Input.Shape)
	}
	if shape[0] < 1 || shape[0] > int64(maxRows) {
		return 0, fmt.Errorf("inputs[0].shape has %d rows; send 1 to %d in a request", shape[0], maxRows)
	}
	return int(shape[0]), nil
}
