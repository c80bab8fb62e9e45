package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

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
Values are raw, as in the data the model was trained on: the model normalizes them itself. Cells without a value are filled as they
were in the model's dataset, if that was made with --missing mean. More rows than a request may have are sent in several.`,
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
	quantity.Flag(cmd.Flags(), &o.row, "row", 0, 1, 0, "only this row of a CSV file; the first is 1")
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
	q, err := a.readInput(ctx, c, model, input, o)
	if err != nil {
		return err
	}
	answer, err := q.ask(ctx, c, path)
	if err != nil {
		return err
	}
	return a.showPrediction(answer, q, a.curl(c, path, q))
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

// ask sends the rows, as many at a time as a request may have, and puts the answers together in their order.
func (q *question) ask(ctx context.Context, c *client.Client, path string) (*prediction, error) {
	if q.body != nil {
		return post(ctx, c, path, q.body)
	}
	var all *prediction
	for lo := 0; lo < len(q.rows); lo += q.batch {
		hi := min(lo+q.batch, len(q.rows))
		body, err := q.request(lo, hi)
		if err != nil {
			return nil, err
		}
		p, err := post(ctx, c, path, body)
		if err == nil && all != nil {
			err = all.add(p)
		}
		switch {
		case err != nil && len(q.rows) > q.batch:
			return nil, fmt.Errorf("rows %d to %d: %w", q.first+lo, q.first+hi-1, err)
		case err != nil:
			return nil, err
		case all == nil:
			all = p
		}
	}
	return all, nil
}

func post(ctx context.Context, c *client.Client, path string, body []byte) (*prediction, error) {
	answer, err := c.REST(ctx, http.MethodPost, path, body, true)
	if err != nil {
		return nil, err
	}
	return parsePrediction(answer)
}

const (
	// maxInline is how long a body of several rows is shown in the curl command.
	maxInline = 4 << 10
	// maxInlineRow is the same of a single row.
	maxInlineRow = 32 << 10
)

// curl is a command line that does the same, or asks about the first row alone, with what it does. It can be run as it stands. Empty: even
// a row is longer than anybody would want to see.
func (a *app) curl(c *client.Client, path string, q *question) string {
	title, data := q.shown()
	if data == "" {
		return ""
	}
	return fmt.Sprintf("%s:\n\ncurl %s \\\n  -H 'Content-Type: application/json' https://%s%s \\\n  %s", title, a.proof(c), c.Endpoint(), path, data)
}

// shown is the part of a curl command line with the data, and what it does.
func (q *question) shown() (title, data string) {
	const same = "The same with curl"
	switch {
	case q.file != "" && len(q.body) > maxInline:
		return same, "--data-binary " + client.Quote("@"+q.file)
	case q.body != nil && len(q.body) <= maxInlineRow:
		return same, "-d " + client.Quote(string(q.body))
	case q.body != nil:
		return "", ""
	}
	if body, err := q.request(0, min(len(q.rows), q.batch, maxInline)); err == nil && len(q.rows) <= q.batch && len(body) <= maxInline {
		return same, "-d " + client.Quote(string(body))
	}
	body, err := q.request(0, 1)
	if err != nil || len(body) > maxInlineRow {
		return "", ""
	}
	if len(q.rows) > 1 {
		return fmt.Sprintf("Row %d with curl", q.first), "-d " + client.Quote(string(body))
	}
	return same, "-d " + client.Quote(string(body))
}

// proof is the part of a curl command that says who asks.
func (a *app) proof(c *client.Client) string {
	if c.Context.Name != client.Environment {
		if file, err := a.contexts(); err == nil {
			return file.Curl(c.Context)
		}
	}
	return client.EnvCurl(c.Context)
}
