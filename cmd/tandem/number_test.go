package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

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
			span() string
			outside() []string
		})
		if !ok {
			t.Errorf("%s: a number without a range: define it with within", name)
			return
		}
		for _, text := range append(v.outside(), "many", "", "9e99999") {
			var out bytes.Buffer
			a := &app{out: &out, err: &out, getenv: func(string) string { return "" }}
			args := append(strings.Fields(c.CommandPath())[1:], "--"+f.Name+"="+text)
			if code := a.execute(t.Context(), args); code != exitUsage {
				t.Errorf("%s: exit code %d", name, code)
			}
			if said := out.String(); !strings.Contains(said, "--"+f.Name) || !strings.Contains(said, "must be "+v.span()) {
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

// outside is what a flag may not be: just below and above its range, and below none.
func (r *ranged[T]) outside() []string {
	all := []string{"-1"}
	if isDuration[T]() {
		all = []string{"-1ns", "-5s"}
	}
	below := &ranged[T]{value: new(T)}
	if *below.value = r.least - 1; r.least > 0 && reflect.TypeFor[T]().Kind() != reflect.Float64 {
		all = append(all, below.String())
	}
	if r.least > 0 {
		all = append(all, "0")
	}
	if above := r.most + 1; r.most != 0 {
		all = append(all, (&ranged[T]{value: &above}).String())
	}
	return all
}

func TestWithin(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	var wait time.Duration
	var count int32
	var rate float64
	within(f, &wait, "wait", 0, time.Second, 0, "how long")
	within(f, &count, "count", 7, 1, 100, "how many")
	within(f, &rate, "rate", 0.5, 0.001, 0, "how fast")
	if count != 7 || rate != 0.5 {
		t.Errorf("without flags: %d, %v", count, rate)
	}
	if help := f.FlagUsages(); strings.Contains(help, "(default 0)") || strings.Contains(help, "(default 0s)") || !strings.Contains(help, "how many (default 7)") {
		t.Errorf("help:\n%s", help)
	}
	for args, want := range map[string]string{
		"--wait=90s --count=0x10 --rate=1e-3": "",
		"--wait=1s --count=100":               "",
		"--wait=999ms":                        `invalid argument "999ms" for "--wait" flag: must be a duration such as 90s or 5m, 1s or more`,
		"--wait=90":                           `invalid argument "90" for "--wait" flag: must be a duration such as 90s or 5m, 1s or more`,
		"--count=101":                         `invalid argument "101" for "--count" flag: must be a whole number from 1 to 100`,
		"--count=4294967297":                  `invalid argument "4294967297" for "--count" flag: must be a whole number from 1 to 100`,
		"--rate=NaN":                          `invalid argument "NaN" for "--rate" flag: must be a number, 0.001 or more`,
		"--rate=Inf":                          `invalid argument "Inf" for "--rate" flag: must be a number, 0.001 or more`,
	} {
		said := ""
		if err := f.Parse(strings.Fields(args)); err != nil {
			said = err.Error()
		}
		if said != want {
			t.Errorf("%s: %s, want %s", args, said, want)
		}
	}
	if wait != time.Second && wait != 90*time.Second || count != 100 && count != 16 {
		t.Errorf("a refused value was kept: %v, %d", wait, count)
	}
}
