package promtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"tandem.dev/proto/prom"
)

// labels are all that a metric of ours may have, and why their values are few. The id of a job, trial, node or replica makes a new
// series for each: such figures are in the API.
var labels = map[string]string{
	"certificate": "ca, node",
	"code":        "the codes of Connect",
	"goversion":   "one",
	"kind":        "kinds of tasks",
	"level":       "one",
	"model":       "models that are served; the series end when they are not any more",
	"of":          "kinds of certificates",
	"outcome":     "named in the HELP text",
	"part":        "parts of a step",
	"pool":        "pools that have nodes",
	"procedure":   "procedures of the API",
	"reason":      "codes of reasons",
	"state":       "states of a noun",
	"status":      "statuses of HTTP",
	"version":     "one",
}

// Check fails the test for each metric of the registry that breaks a rule, and when the table of docs (a Markdown file) under a
// name does not list exactly the metrics of ours that the registry shows. With update the table is written anew.
func Check(t *testing.T, r prometheus.Gatherer, docs, name string, update bool) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems(families) {
		t.Error(p)
	}
	page, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	want, err := replace(string(page), name, table(families))
	switch {
	case err != nil:
		t.Fatalf("%s: %v", docs, err)
	case want == string(page):
	case !update:
		t.Errorf("the table of metrics in %s is not that of the program; run this test with -update", docs)
	default:
		if err := os.WriteFile(docs, []byte(want), 0o644); err != nil { //nolint:gosec // a page of the documentation
			t.Fatal(err)
		}
	}
}

// problems are the rules that metrics break, each with the name of the metric.
func problems(families []*dto.MetricFamily) []string {
	var all []string
	own := 0
	for _, f := range families {
		switch {
		case strings.HasPrefix(f.GetName(), prom.Namespace+"_"):
			own++
			all = append(all, ofFamily(f)...)
		case !strings.HasPrefix(f.GetName(), "go_") && !strings.HasPrefix(f.GetName(), "process_"):
			all = append(all, fmt.Sprintf("%s: the name does not begin with %s_", f.GetName(), prom.Namespace))
		}
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds", prom.Namespace + "_build_info"} {
		if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name }) {
			all = append(all, name+": missing")
		}
	}
	if own < 2 {
		all = append(all, "no metric of the program's own")
	}
	return all
}

func ofFamily(f *dto.MetricFamily) []string {
	var all []string
	report := func(format string, args ...any) {
		all = append(all, f.GetName()+": "+fmt.Sprintf(format, args...))
	}
	found, err := promlint.NewWithMetricFamilies([]*dto.MetricFamily{f}).Lint()
	if err != nil {
		report("%v", err)
	}
	for _, p := range found {
		report("%s", p.Text)
	}
	if !slices.ContainsFunc(prom.Scopes(), func(s prom.Scope) bool { return strings.HasSuffix(f.GetHelp(), ". "+string(s)) }) {
		report("HELP does not say whether it is per cluster or per process: %q", f.GetHelp())
	}
	for _, name := range labelsOf(f) {
		if labels[name] == "" {
			report("label %q is not allowed: are its values few? Then add it to the list here", name)
		}
	}
	return all
}

func labelsOf(f *dto.MetricFamily) []string {
	var names []string
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names = append(names, l.GetName())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// table is the list of metrics in Markdown.
func table(families []*dto.MetricFamily) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what |\n|---|---|---|---|\n")
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prom.Namespace+"_") {
			continue
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labelsOf(f), ", "), f.GetHelp())
	}
	return b.String()
}

// replace puts a table between the marks of its name.
func replace(page, name, table string) (string, error) {
	begin, end := "<!-- metrics of "+name+" -->\n", "<!-- end of metrics -->"
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("there is no mark %q", begin)
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("there is no mark %q behind %q", end, begin)
	}
	return before + begin + table + end + after, nil
}
