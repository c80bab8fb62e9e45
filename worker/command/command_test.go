package command

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestEnviron: the ranks of a node follow each other though its members are not listed so, all agree on the master, and what the user set
// himself does not get in the way.
func TestEnviron(t *testing.T) {
	ranks := Ranks([]Member{{"m-1", "node-b", "10.0.0.2"}, {"m-2", "node-a", "10.0.0.1"}, {"m-3", "node-b", "10.0.0.2"}})
	var order []string
	for _, r := range ranks {
		order = append(order, r.Member)
	}
	if diff := cmp.Diff([]string{"m-1", "m-3", "m-2"}, order); diff != "" {
		t.Fatal(diff)
	}
	got := ranks[1].Environ([]string{"LANG=C", "RANK=7", "TORCHELASTIC_USE_AGENT_STORE=True"}, Run{ID: "trial-1", Port: 29500, Restarts: 1, MaxRestarts: 3})
	want := []string{
		"LANG=C", "RANK=1", "LOCAL_RANK=1", "WORLD_SIZE=3", "LOCAL_WORLD_SIZE=2", "GROUP_RANK=0", "GROUP_WORLD_SIZE=2", "MASTER_ADDR=10.0.0.2", "MASTER_PORT=29500",
		"TORCHELASTIC_RUN_ID=trial-1", "TORCHELASTIC_RESTART_COUNT=1", "TORCHELASTIC_MAX_RESTARTS=3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRanksProperty: in any gang each member has one rank, each node's local ranks run from 0 to its LOCAL_WORLD_SIZE and follow each other.
func TestRanksProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var gang []Member
		for i, node := range rapid.SliceOfN(rapid.IntRange(0, 4), 1, 20).Draw(t, "nodes") {
			gang = append(gang, Member{ID: fmt.Sprint(i), Node: fmt.Sprint(node), Host: fmt.Sprint("host-", node)})
		}
		seen := map[string]bool{}
		for i, r := range Ranks(gang) {
			seen[r.Member] = true
			if r.Rank != i || r.World != len(gang) || r.MasterHost != gang[0].Host || r.LocalRank >= r.LocalWorld || r.Node >= r.Nodes {
				t.Fatalf("rank %d: %+v", i, r)
			}
			if first := Ranks(gang)[i-r.LocalRank]; first.LocalRank != 0 || first.Node != r.Node || first.LocalWorld != r.LocalWorld {
				t.Fatalf("rank %d is on the node of %+v: %+v", i, first, r)
			}
		}
		if len(seen) != len(gang) {
			t.Fatalf("%d members have a rank, of %d", len(seen), len(gang))
		}
	})
}

// TestParseMetrics: a line is read, a log's text is not taken for one, and what is wrong is named.
func TestParseMetrics(t *testing.T) {
	m, meant, err := ParseMetrics("tandem-metrics step=200  loss=3.1e-1 val/accuracy=0.91")
	if diff := cmp.Diff(Metrics{200, map[string]float64{"loss": 0.31, "val/accuracy": 0.91}}, m); diff != "" || !meant || err != nil {
		t.Error(meant, err, diff)
	}
	for _, line := range []string{"", "step=1 loss=2", "tandem-metrics", " tandem-metrics step=1 loss=2"} {
		if _, meant, err := ParseMetrics(line); meant || err != nil {
			t.Errorf("%q is taken for metrics: %v", line, err)
		}
	}
	for line, want := range map[string]string{
		"loss=1":                  "no step",
		"step=1":                  "0 metrics",
		"step=1 loss":             `"loss" must be name=number`,
		"step=1 a;b=1":            `"a;b=1" must be name=number`,
		"step=1 step=2 loss=1":    `"step=2" must be a whole number`,
		"step=-1 loss=1":          `"step=-1" must be a whole number`,
		"step=1 loss=nan":         `"loss=nan" must have a finite number`,
		"step=1 loss=1e999":       "must have a finite number",
		"step=1 loss=1 loss=2":    `"loss" is given twice`,
		strings.Repeat("x", 5000): "at most 4096 are read",
	} {
		if _, meant, err := ParseMetrics(prefix + line); !meant || !errors.Is(err, ErrLine) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%.40q: %v, want %q", line, err, want)
		}
	}
}

// FuzzParseMetrics: what is accepted can be written and read again, and is within the limits.
func FuzzParseMetrics(f *testing.F) {
	f.Add("tandem-metrics step=1 loss=0.5")
	f.Add("tandem-metrics step=1 loss=0x1p-2 a=-0")
	f.Fuzz(func(t *testing.T, line string) {
		m, meant, err := ParseMetrics(line)
		if !meant || err != nil {
			return
		}
		if m.Step < 0 || len(m.Values) == 0 || len(m.Values) > maxValues {
			t.Fatalf("%q: %+v", line, m)
		}
		text := fmt.Sprintf("%sstep=%d", prefix, m.Step)
		for _, name := range slices.Sorted(maps.Keys(m.Values)) {
			text += fmt.Sprintf(" %s=%g", name, m.Values[name])
		}
		if again, _, err := ParseMetrics(text); len(text) <= maxLine && (err != nil || !cmp.Equal(m, again)) {
			t.Fatalf("%q: %v, %s", text, err, cmp.Diff(m, again))
		}
	})
}

// TestEnd: what each end of a program is reported as.
func TestEnd(t *testing.T) {
	for _, c := range []struct {
		end  End
		want string
	}{
		{End{}, "finished"},
		{End{Code: 1}, "failed: exit code 1"},
		{End{Code: 2}, "permanent: exit code 2"},
		{End{Code: 126}, "permanent: chmod +x"},
		{End{Code: 127}, "permanent: not found"},
		{End{Signal: syscall.SIGSEGV, Code: -1}, "failed: signal SIGSEGV"},
		{End{Stopped: true}, "stopped"},
		{End{Stopped: true, Code: 143}, "stopped"},
		{End{Stopped: true, Signal: syscall.SIGKILL, Code: -1}, "stopped"},
	} {
		kind, text, _ := strings.Cut(c.want, ": ")
		got, message := "", ""
		switch r := c.end.Report([]int{2}).GetReport().(type) {
		case *tandemv1.EngineReport_Finished:
			got = "finished"
		case *tandemv1.EngineReport_Stopped:
			got = "stopped"
		case *tandemv1.EngineReport_Failed:
			got, message = "failed", r.Failed.GetMessage()
			if r.Failed.GetPermanent() {
				got = "permanent"
			}
		}
		if got != kind || !strings.Contains(message, text) {
			t.Errorf("%+v: %s %q, want %s", c.end, got, message, c.want)
		}
	}
}
