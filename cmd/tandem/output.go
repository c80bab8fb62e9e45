package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/proto/plain"
)

var outputs = []string{"table", "wide", "json", "yaml"}

// csvOutput is the annotation of commands that know -o csv.
const csvOutput = "csv"

func (a *app) checkOutput(cmd *cobra.Command) error {
	if known := outputsOf(cmd); !slices.Contains(known, a.output) {
		return &usageError{fmt.Errorf("unknown output %q: use %s", a.output, strings.Join(known, ", "))}
	}
	return nil
}

// outputsOf are the forms that a command knows.
func outputsOf(cmd *cobra.Command) []string {
	if _, ok := cmd.Annotations[csvOutput]; ok {
		return append(slices.Clone(outputs), csvOutput)
	}
	return outputs
}

// view is how people look at it.
type view struct {
	wide    bool // -o wide
	columns int  // of the terminal; 0: it is none, and lines have no end
}

func (a *app) view() view {
	v := view{wide: a.output == "wide"}
	if a.terminal {
		v.columns = a.columns()
	}
	return v
}

// people says whether the output is for people, not for a program.
func (a *app) people() bool { return a.output == "table" || a.output == "wide" }

// part is a piece of what people read.
type part interface {
	write(w io.Writer, v view)
}

// show writes an answer in the form that was asked for: m for programs, parts for people.
func (a *app) show(m proto.Message, parts ...part) error {
	return a.showAs(func() ([]byte, error) { return encodeJSON(m) }, parts)
}

// showValue is show for an answer that no coordinator gave: v is what its JSON is made of.
func (a *app) showValue(v any, parts ...part) error {
	return a.showAs(func() ([]byte, error) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode as JSON: %w", err)
		}
		return append(b, '\n'), nil
	}, parts)
}

func (a *app) showAs(encode func() ([]byte, error), parts []part) error {
	if a.output != "json" && a.output != "yaml" {
		for _, p := range parts {
			p.write(a.out, a.view())
		}
		return a.written()
	}
	b, err := encode()
	if err != nil {
		return err
	}
	return a.writeJSON(b)
}

// writeJSON writes JSON as it is, or as YAML, of which each value after the first is another document. Neither steers a terminal.
func (a *app) writeJSON(b []byte) error {
	if a.output != "yaml" {
		_, err := a.out.Write(escaped(b, jsonEscape))
		return err
	}
	b, err := encodeYAML(b)
	if err != nil {
		return err
	}
	if a.documents++; a.documents > 1 {
		b = append([]byte("---\n"), b...)
	}
	_, err = a.out.Write(b)
	return err
}

// encodeJSON writes a message as REST does (package plain), for people too.
func encodeJSON(m proto.Message) ([]byte, error) {
	b, err := plain.Marshal(m)
	if err != nil {
		return nil, err
	}
	return indented(b)
}

// indented is JSON with a line for each value.
func indented(b []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// fields are names and values, one a line; those without a value are left out.
type fields [][2]string

func (f fields) write(w io.Writer, v view) {
	width := 0
	for _, kv := range f {
		if kv[1] != "" {
			width = max(width, len(kv[0]))
		}
	}
	for _, kv := range f {
		if kv[1] != "" {
			value := printable.Text(kv[1])
			if room := v.columns - width - 3; room >= easyText {
				value = wrapped(value, room)
			}
			value = strings.ReplaceAll(value, "\n", "\n"+strings.Repeat(" ", width+3))
			fmt.Fprintf(w, "%-*s  %s\n", width+1, kv[0]+":", value)
		}
	}
}

// text is a paragraph.
type text string

func (t text) write(w io.Writer, _ view) { fmt.Fprintln(w, printable.Text(string(t))) }
