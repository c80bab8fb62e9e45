package prom

import (
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Namespace begins all names.
const Namespace = "tandem"

// Scope says of whom a metric tells.
type Scope string

// The scopes.
const (
	// Cluster metrics are read from the replicated state, which each coordinator has.
	Cluster Scope = "Per cluster: the same on each coordinator, so use max()."
	// Coordinator metrics are of one process.
	Coordinator Scope = "Per coordinator."
	// Agent metrics are of one process.
	Agent Scope = "Per agent."
)

// Scopes are all of them.
func Scopes() []Scope { return []Scope{Cluster, Coordinator, Agent} }

// Help is a HELP text that says of whom the metric tells.
func (s Scope) Help(text string) string { return text + " " + string(s) }

// NewRegistry returns a registry with what each process shows: go_*, process_* and tandem_build_info. level is the feature
// level that the program knows.
func (s Scope) NewRegistry(version string, level int) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: Namespace, Name: "build_info", Help: s.Help("1, with the version of the program, of Go, and the feature level it knows."),
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version(), "level": strconv.Itoa(level)},
	}, func() float64 { return 1 })
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return r
}
