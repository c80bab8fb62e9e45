package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

const simTrace = `# two nodes, of which one fails
node n1 slots=4
node n2 slots=4
job wide at=0s slots=6 min=2 work=1h user=ann project=vision
job gang at=10m slots=8 work=20m user=bob
job small at=11m slots=1 work=5m user=ann limit=1m
fail n2 at=30m for=10m
`

// simUser is a user without any cluster.
func simUser(t *testing.T) *user {
	u := newUser(t, "", "127.0.0.1:1")
	u.env["TANDEM_CONFIG"] = filepath.Join(u.dir, "none.yaml")
	return u
}

// TestSim: what became of a trace, for people and programs, without a cluster.
func TestSim(t *testing.T) {
	u := simUser(t)
	file := write(t, u.dir, "trace.txt", simTrace)
	for name, args := range map[string][]string{
		"sim": {}, "sim_wide": {"-o", "wide"}, "sim_json": {"-o", "json"}, "sim_slurm": {"--policy", "slurm", "-o", "wide"},
	} {
		u.want(u.run(append([]string{"sim", file}, args...)...), exitOK)
		golden(t, name, u.out.String())
	}
	for columns, want := range map[string]int{"60": 60, "131": 131, "400": 200} {
		u.env["COLUMNS"] = columns
		u.want(u.run("sim", file), exitOK)
		widest := 0
		for line := range strings.Lines(u.out.String()) {
			widest = max(widest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
		}
		if widest != want {
			t.Errorf("a picture for %s columns has %d", columns, widest)
		}
	}
}

// TestSimGenerate: a trace that was made is one that is read, the same for the same seed, another for another.
func TestSimGenerate(t *testing.T) {
	u := simUser(t)
	made := map[string]bool{}
	for _, args := range [][]string{{"philly"}, {"heavy-tailed"}, {"philly", "--seed", "2"}, {"philly", "--seed", "1"}} {
		u.want(u.run(append([]string{"sim", "--jobs", "30", "--nodes", "2", "--slots", "4", "--generate"}, args...)...), exitOK)
		made[u.out.String()] = true
		u.in = u.out.String()
		u.want(u.run("sim", "-", "--rigid", "-o", "json"), exitOK)
		var r struct{ Submitted, Ended, Slots int }
		if err := json.Unmarshal([]byte(u.out.String()), &r); err != nil || r.Submitted != 30 || r.Ended != 30 || r.Slots != 8 {
			t.Errorf("%v: %+v, %v", args, r, err)
		}
	}
	if len(made) != 3 {
		t.Errorf("%d different traces were made, want 3", len(made))
	}
}

// TestSimErrors: what cannot be read is named with its line and what to do, and nothing is printed; the exit code is that of usage.
func TestSimErrors(t *testing.T) {
	u := simUser(t)
	pipe, large := filepath.Join(u.dir, "pipe"), filepath.Join(u.dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 2<<30); err != nil {
		t.Fatal(err)
	}
	good := write(t, u.dir, "good.txt", simTrace)
	many := strings.Repeat("job j at=0s slots=1 work=1s\n", 3)
	for said, args := range map[string][]string{
		"TRACE is missing; --generate SHAPE makes one":            {},
		"unexpected argument":                                     {good, good},
		"give a trace or --generate, not both":                    {good, "--generate", "philly"},
		`unknown shape "round": use one of`:                       {"--generate", "round"},
		`unknown policy "lottery": use one of`:                    {good, "--policy", "lottery"},
		"has no use for --rigid":                                  {"--generate", "philly", "--rigid"},
		"--nodes is the shape of a trace that --generate makes":   {good, "--nodes", "3"},
		"at most 200000 slots in all":                             {"--generate", "philly", "--nodes", "10000", "--slots", "1000"},
		"must be a whole number from 1 to 100000":                 {"--generate", "philly", "--jobs", "1000000"},
		"a pipe that nobody writes to":                            {pipe},
		"is too large: it has more than 64 MiB":                   {large},
		"is a folder":                                             {u.dir},
		"is a device":                                             {"/dev/zero"},
		"no such file":                                            {filepath.Join(u.dir, "none.txt")},
		"empty.txt: it has no nodes: add a line such as":          {write(t, u.dir, "empty.txt", "")},
		"nodes.txt: it has no jobs: add a line such as":           {write(t, u.dir, "nodes.txt", "node n slots=1")},
		`rubbish.txt: line 1: "\x89PNG" is not node, job or fail`: {write(t, u.dir, "rubbish.txt", "\x89PNG \x00\x01")},
		"long.txt: line 1: it has more than 65536 bytes":          {write(t, u.dir, "long.txt", strings.Repeat("x", 1<<20))},
		"twice.txt: line 2: job j already exists":                 {write(t, u.dir, "twice.txt", many)},
		"minus.txt: line 1: slots must be a whole number from 1":  {write(t, u.dir, "minus.txt", "node n slots=-1")},
		`text.txt: line 1: "dear" is not node, job or fail`:       {write(t, u.dir, "text.txt", "dear diary")},
	} {
		u.want(u.run(append([]string{"sim"}, args...)...), exitUsage, said)
		if u.out.String() != "" || u.err.Len() > 1000 {
			t.Errorf("%v: something else was said: %s%s", args, u.out.String(), u.err.String())
		}
	}
}

// TestSimInterrupted: it ends with its context, and shows nothing.
func TestSimInterrupted(t *testing.T) {
	u := simUser(t)
	file := write(t, u.dir, "trace.txt", simTrace)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u.want(u.runContext(ctx, "sim", file), exitInterrupted)
}
