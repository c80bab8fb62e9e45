package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestNumbersHaveARange: every flag of every command that counts or measures something refuses what is outside of its range, by its name
// and with the range, before anything is done. A duration that has passed, or a count below none, is never taken for "for ever" or "all".
func TestNumbersHaveARange(t *testing.T) {
	flags := 0
	each((&app{}).root(), func(c *cobra.Command, f *pflag.Flag) {
		switch f.Value.Type() {
		case "duration", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "count",
			"intSlice", "int32Slice", "int64Slice", "uintSlice", "float32Slice", "float64Slice", "durationSlice":
		default:
			return
		}
		flags++
		name := c.CommandPath() + " --" + f.Name
		value := f.Value
		if s, given := value.(*single); given {
			value = s.Value
		}
		v, ok := value.(interface {
			Span() string
			Outside() []string
		})
		if !ok {
			t.Errorf("%s: a number without a range: define it with quantity.Flag", name)
			return
		}
		for _, text := range append(v.Outside(), "many", "", "9e99999") {
			var out bytes.Buffer
			a := &app{out: &out, err: &out, getenv: func(string) string { return "" }}
			args := append(strings.Fields(c.CommandPath())[1:], "--"+f.Name+"="+text)
			if code := a.execute(t.Context(), args); code != exitUsage {
				t.Errorf("%s: exit code %d", name, code)
			}
			if said := out.String(); !strings.Contains(said, "--"+f.Name) || !strings.Contains(said, "must be "+v.Span()) {
				t.Errorf("%s=%s: %s", name, text, said)
			}
		}
	})
	if flags < 30 {
		t.Errorf("%d flags were looked at", flags)
	}
}

// each visits every flag of a command and of those below it.
func each(c *cobra.Command, visit func(*cobra.Command, *pflag.Flag)) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { visit(c, f) })
	for _, below := range c.Commands() {
		each(below, visit)
	}
}
