package quantity

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlag(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	var wait time.Duration
	var count int32
	var rate float64
	Flag(f, &wait, "wait", 0, time.Second, 0, "how long")
	Flag(f, &count, "count", 7, 1, 100, "how many")
	Flag(f, &rate, "rate", 0.5, 0.001, 0, "how fast")
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
