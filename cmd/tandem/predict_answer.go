package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tandem.dev/cmd/tandem/printable"
)

// tensor is one of the Open Inference Protocol.
type tensor struct {
	Name     string          `json:"name"`
	Datatype string          `json:"datatype"`
	Shape    []int64         `json:"shape"`
	Data     json.RawMessage `json:"data,omitempty"`
}

// prediction is the answer to an inference request, or to several.
type prediction struct {
	ModelName    string   `json:"model_name"`
	ModelVersion string   `json:"model_version"`
	Outputs      []tensor `json:"outputs"`

	text []byte // what came, if it is one answer
}

func parsePrediction(answer []byte) (*prediction, error) {
	p := prediction{text: answer}
	if err := json.Unmarshal(answer, &p); err != nil {
		return nil, fmt.Errorf("read the prediction: %w", err)
	}
	return &p, nil
}

// add appends the answer about the rows that follow.
func (p *prediction) add(next *prediction) error {
	if next.ModelVersion != p.ModelVersion {
		return fmt.Errorf("version %s answered the rows before and version %s these: ask again, or name a version", p.ModelVersion, next.ModelVersion)
	}
	if len(p.Outputs) != len(next.Outputs) {
		return fmt.Errorf("%d outputs follow %d", len(next.Outputs), len(p.Outputs))
	}
	p.text = nil
	for i := range p.Outputs {
		to, from := &p.Outputs[i], next.Outputs[i]
		if to.Name != from.Name || len(to.Shape) == 0 || len(from.Shape) == 0 || !slices.Equal(to.Shape[1:], from.Shape[1:]) {
			return fmt.Errorf("output %s of shape %v follows %s of %v", from.Name, from.Shape, to.Name, to.Shape)
		}
		data, err := joined(to.Data, from.Data)
		if err != nil {
			return fmt.Errorf("output %s: %w", to.Name, err)
		}
		to.Data = data
		to.Shape[0] += from.Shape[0]
	}
	return nil
}

// joined is the JSON of an array with the elements of two.
func joined(a, b json.RawMessage) (json.RawMessage, error) {
	a, b = bytes.TrimSpace(a), bytes.TrimSpace(b)
	if !bytes.HasPrefix(a, []byte("[")) || !bytes.HasPrefix(b, []byte("[")) {
		return nil, fmt.Errorf("its data are not a list")
	}
	a, b = bytes.TrimSpace(a[:len(a)-1]), bytes.TrimSpace(b[1:])
	if len(a) > 1 && len(b) > 1 {
		a = append(a, ',')
	}
	return append(a, b...), nil
}

func (a *app) showPrediction(p *prediction, q *question, curl string) error {
	if a.output == "json" || a.output == "yaml" {
		answer := p.text
		if answer == nil {
			var err error
			if answer, err = json.Marshal(p); err != nil {
				return fmt.Errorf("write the predictions: %w", err)
			}
		}
		return a.writeJSON(append(bytes.TrimSpace(answer), '\n'))
	}
	g, err := predictionGrid(*p, q)
	if err != nil {
		return err
	}
	g.write(a.out, a.view())
	if curl != "" {
		_, err = fmt.Fprintf(a.out, "\n%s\n", printable.Text(curl))
	}
	return err
}

// predictionGrid shows labels with their probabilities, or the bare outputs of a regression.
func predictionGrid(p prediction, q *question) (grid, error) {
	labels, probabilities, outputs, err := p.rows()
	if err != nil {
		return grid{}, err
	}
	g := grid{header: []string{"ROW", "OUTPUT"}}
	if labels != nil {
		g.header = []string{"ROW", "LABEL", "PROBABILITY"}
	}
	if len(q.expected) > 0 {
		g.header = append(g.header, "EXPECTED")
	}
	for i := range max(len(labels), len(outputs)) {
		line := []string{strconv.Itoa(q.first + i)}
		switch {
		case labels != nil && i < len(probabilities):
			line = append(line, labels[i], fmt.Sprintf("%.4f", top(probabilities[i])))
		case labels != nil:
			line = append(line, labels[i], "")
		default:
			line = append(line, shorten(outputs[i]))
		}
		if i < len(q.expected) {
			line = append(line, q.expected[i])
		} else if len(q.expected) > 0 {
			line = append(line, "")
		}
		g.rows = append(g.rows, line)
	}
	return g, nil
}

// shorten shows the first few of many numbers, as a language model gives.
func shorten(values []float64) string {
	const shown = 16
	s := strings.Trim(fmt.Sprintf("%.6g", values[:min(len(values), shown)]), "[]")
	if len(values) > shown {
		s += fmt.Sprintf(" ... (%s numbers, all of them with -o json)", count(int64(len(values))))
	}
	return s
}

// rows takes the outputs of an answer apart; labels are nil for a regression.
func (p prediction) rows() (labels []string, probabilities, outputs [][]float64, err error) {
	for _, t := range p.Outputs {
		switch t.Name {
		case "label":
			var values []any
			if err = json.Unmarshal(t.Data, &values); err == nil {
				for _, v := range values {
					labels = append(labels, fmt.Sprint(v))
				}
			}
		case "probabilities":
			probabilities, err = t.matrix()
		case "output":
			outputs, err = t.matrix()
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("read output %s of the prediction: %w", t.Name, err)
		}
	}
	// Each output that the answer has, has a value for each row: any of them gives the number of rows.
	n := max(len(labels), len(probabilities), len(outputs))
	for _, have := range []int{len(labels), len(probabilities), len(outputs)} {
		if have != 0 && have != n {
			return nil, nil, nil, fmt.Errorf("read the prediction: %d labels, %d rows of probabilities and %d of outputs do not belong together", len(labels), len(probabilities), len(outputs))
		}
	}
	return labels, probabilities, outputs, nil
}

func (t tensor) matrix() ([][]float64, error) {
	var flat []float64
	if err := json.Unmarshal(t.Data, &flat); err != nil {
		return nil, err
	}
	if len(t.Shape) == 0 || t.Shape[0] <= 0 || t.Shape[0] > int64(len(flat)) || int64(len(flat))%t.Shape[0] != 0 {
		return nil, fmt.Errorf("%d values do not fit shape %v", len(flat), t.Shape)
	}
	width := len(flat) / int(t.Shape[0])
	rows := make([][]float64, t.Shape[0])
	for i := range rows {
		rows[i] = flat[i*width : (i+1)*width]
	}
	return rows, nil
}

func top(values []float64) float64 {
	best := 0.0
	for _, v := range values {
		best = max(best, v)
	}
	return best
}
