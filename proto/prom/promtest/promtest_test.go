package promtest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"tandem.dev/proto/prom"
)

// TestProblems: each rule that a metric can break is told with its name.
func TestProblems(t *testing.T) {
	r := prometheus.NewRegistry()
	counter := func(name, help string, labels prometheus.Labels) {
		r.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}))
	}
	counter("tandem_good_total", prom.Agent.Help("Good."), prometheus.Labels{"state": "x"})
	counter("tandem_ids_total", prom.Agent.Help("Ids."), prometheus.Labels{"job": "job-1"})
	counter("tandem_things", prom.Cluster.Help("A counter without total."), nil)
	counter("tandem_scope_total", "Of nobody.", nil)
	counter("other_total", prom.Agent.Help("Other."), nil)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"other_total: the name does not begin with tandem_",
		`tandem_ids_total: label "job" is not allowed: are its values few? Then add it to the list here`,
		`tandem_scope_total: HELP does not say whether it is per cluster or per process: "Of nobody."`,
		`tandem_things: counter metrics should have "_total" suffix`,
		"go_goroutines: missing", "process_start_time_seconds: missing", "tandem_build_info: missing",
	}
	if diff := cmp.Diff(want, problems(families)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := table(families); !strings.Contains(got, "| `tandem_good_total` | counter | state | Good. Per agent. |\n") || strings.Contains(got, "other") {
		t.Error(got)
	}
	if found := problems(nil); len(found) != 4 {
		t.Errorf("of no metrics at all: %q", found)
	}
}

func TestReplace(t *testing.T) {
	page := "a\n<!-- metrics of x -->\nold\n<!-- end of metrics -->\nb\n"
	if got, err := replace(page, "x", "new\n"); err != nil || got != "a\n<!-- metrics of x -->\nnew\n<!-- end of metrics -->\nb\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, broken := range []string{"", "<!-- metrics of x -->\n"} {
		if _, err := replace(broken, "x", ""); err == nil {
			t.Errorf("%q has no marks", broken)
		}
	}
}
