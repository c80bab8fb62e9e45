package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// tensor is one of the Open Inference Protocol.
type tensor struct {
	Name     string          `json:"name"`
	Datatype string          `json:"datatype"`
	Shape    []int64         `json:"shape"`
	Data     json.RawMessage `json:"data,omitempty"`
}

// prediction is the answer to an inference request.
type prediction struct {
	ModelName    string   `json:"model_name"`
	ModelVersion string   `json:"model_version"`
	Outputs      []tensor `json:"outputs"`
}

func (a *app) predictCommand() *cobra.Command {
	var input, comma string
	var o tableOptions
	cmd := &cobra.Command{
		Use:   "predict MODEL[@VERSION] --input FILE",
		Short: "Ask a served model, and show the curl command that does the same",
		Long: `Ask a served model. The input is one of
  a CSV file with a header, whose columns are taken by the names the model was trained with (--row N picks one row, the
  first is 1; --comma and --no-header as in dataset create),
  a JSON list of numbers, or a list of such lists,
  a request of the Open Inference Protocol.
Values are raw, as in the data the model was trained on: the model normalizes them itself.`,
		Example: `  tandem predict digits --input digits.csv --row 7
  echo '[0, 0, 5, 13]' | tandem predict small --input -`,
		Args:              want("MODEL"),
		ValidArgsFunction: a.deploymentNames(),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if input == "" {
				return fmt.Errorf("name the input with --input FILE (- for standard input)")
			}
			if o.comma, err = parseComma(comma); err != nil {
				return err
			}
			return a.call(func(ctx context.Context, c *client.Client, args []string) error {
				return a.predict(ctx, c, args[0], input, o)
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&input, "input", "", "file with the input; - for standard input")
	within(cmd.Flags(), &o.row, "row", 0, 1, 0, "only this row of a CSV file; the first is 1")
	cmd.Flags().StringVar(&comma, "comma", ",", `what parts the cells of a CSV file; "tab" for tabs`)
	cmd.Flags().BoolVar(&o.noHeader, "no-header", false, "the first line of a CSV file is data; columns are then named c0, c1 ...")
	return cmd
}

// predict asks a model about the rows of a file.
func (a *app) predict(ctx context.Context, c *client.Client, model, input string, o tableOptions) error {
	path, err := inferPath(ctx, c, model)
	if err != nil {
		return err
	}
	r, err := a.readInput(ctx, c, model, input, o)
	if err != nil {
		return err
	}
	answer, err := c.REST(ctx, http.MethodPost, path, r.body, true)
	if err != nil {
		return err
	}
	return a.showPrediction(answer, r, a.curl(c, path, r.body))
}

// inferPath is where a model is asked: "digits" whatever is served, "digits@3" and "digits@champion" that version.
func inferPath(ctx context.Context, c *client.Client, model string) (string, error) {
	name, version, ok := strings.Cut(model, "@")
	if !ok {
		return "/v2/models/" + url.PathEscape(name) + "/infer", nil
	}
	if _, err := strconv.ParseInt(version, 10, 64); err != nil {
		res, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: model}))
		if err != nil {
			return "", err
		}
		version = number(res.Msg.GetVersion().GetNumber())
	}
	return "/v2/models/" + url.PathEscape(name) + "/versions/" + version + "/infer", nil
}

// maxInline is how long a body is shown in the curl command.
const maxInline = 4 << 10

// curl is the command line that does the same.
func (a *app) curl(c *client.Client, path string, body []byte) string {
	proof := client.EnvCurl
	if c.Context.Name != client.Environment {
		if file, err := a.contexts(); err == nil {
			proof = file.Curl(c.Context)
		}
	}
	data := "'" + strings.ReplaceAll(string(body), "'", `'\''`) + "'"
	if len(body) > maxInline {
		data = "@request.json"
	}
	return fmt.Sprintf("curl %s \\\n  -H 'Content-Type: application/json' https://%s%s \\\n  -d %s", proof, c.Endpoint(), path, data)
}

func (a *app) showPrediction(answer []byte, r *inferInput, curl string) error {
	if a.output == "json" || a.output == "yaml" {
		return a.writeJSON(append(bytes.TrimSpace(answer), '\n'))
	}
	var p prediction
	if err := json.Unmarshal(answer, &p); err != nil {
		return fmt.Errorf("read the prediction: %w", err)
	}
	g, err := predictionGrid(p, r)
	if err != nil {
		return err
	}
	g.write(a.out, a.view())
	_, err = fmt.Fprintf(a.out, "\nThe same with curl:\n\n%s\n", printable(curl))
	return err
}

// predictionGrid shows labels with their probabilities, or the bare outputs of a regression.
func predictionGrid(p prediction, r *inferInput) (grid, error) {
	labels, probabilities, outputs, err := p.rows()
	if err != nil {
		return grid{}, err
	}
	g := grid{header: []string{"ROW", "OUTPUT"}}
	if labels != nil {
		g.header = []string{"ROW", "LABEL", "PROBABILITY"}
	}
	if len(r.expected) > 0 {
		g.header = append(g.header, "EXPECTED")
	}
	for i := range max(len(labels), len(outputs)) {
		line := []string{strconv.Itoa(r.first + i)}
		switch {
		case labels != nil && i < len(probabilities):
			line = append(line, labels[i], fmt.Sprintf("%.4f", top(probabilities[i])))
		case labels != nil:
			line = append(line, labels[i], "")
		default:
			line = append(line, shorten(outputs[i]))
		}
		if i < len(r.expected) {
			line = append(line, r.expected[i])
		} else if len(r.expected) > 0 {
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
	// What is there has a line for each row: one of the three says how many.
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
