package agent

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tandem.dev/proto/prom"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/metric"
)

// metrics are the agent's figures, in a registry of its own.
type metrics struct {
	registry  *prometheus.Registry
	started   *prometheus.CounterVec // engines, by kind
	restarted prometheus.Counter
	reused    prometheus.Counter
	ended     *prometheus.CounterVec // engines, by outcome
	reports   *prometheus.CounterVec // by outcome
	requests  *prometheus.CounterVec // to replicas, by outcome
	sessions  prometheus.Counter
	logBytes  prometheus.Counter
	logErrors prometheus.Counter
	steps     prometheus.Counter
	stepParts *prometheus.CounterVec // seconds of steps, by part
	goodput   *prometheus.CounterVec // seconds of ranks, by part
}

// counts are figures read when they are asked for.
type counts struct {
	engines  func() map[phase]int
	queue    func() int
	slots    func() (total, used int)
	progress func() (stepsPerSecond, samplesPerSecond float64)
	session  func() bool
	expires  func() time.Time // the node's certificate
}

// subsystem begins the names of what only agents have.
const subsystem = "agent"

func newMetrics(version string) *metrics {
	r := prom.Agent.NewRegistry(version, schema.Known)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: prom.Namespace, Subsystem: subsystem, Name: name, Help: prom.Agent.Help(help)}, labels)
		r.MustRegister(c)
		return c
	}
	counter := func(name, help string) prometheus.Counter { return vec(name, help).WithLabelValues() }
	m := &metrics{
		registry:  r,
		started:   vec("engine_starts_total", "Engines started, by kind of task.", "kind"),
		restarted: counter("engine_restarts_total", "Engines started for a generation above the first."),
		reused:    counter("engine_reuses_total", "Engines that got the process of another task of their job."),
		ended:     vec("engine_ends_total", "Engines that ended, by outcome: finished, stopped or failed by their own word, lost (no word), ended (by the agent).", "outcome"),
		reports:   vec("reports_total", "Reports the coordinator answered, by outcome.", "outcome"),
		requests:  vec("replica_requests_total", "Requests to replicas, by outcome.", "outcome"),
		sessions:  counter("sessions_total", "Sessions opened with coordinators."),
		logBytes:  counter("log_bytes_total", "Bytes of log lines of engines."),
		logErrors: counter("log_errors_total", "Log lines or chunks that could not be written at once."),
		steps:     counter("steps_total", "Optimizer steps of the trials whose rank 0 is here."),
		stepParts: vec("step_seconds_total", "Seconds of those steps by part, on rank 0: divided by steps_total, where the time of a step goes.", "part"),
		goodput:   vec("goodput_seconds_total", "Seconds of the ranks here by what became of them: useful, redone, stalled, waiting, starting. The sum over all agents is that of the cluster.", "part"),
	}
	m.spent(metric.Ledger{}) // so that a rate has a beginning
	return m
}

// observe registers the figures that are read when asked for.
func (m *metrics) observe(c counts) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: prom.Namespace, Subsystem: subsystem, Name: name, Help: prom.Agent.Help(help)}, value))
	}
	gauge("report_queue_length", "Reports that the coordinator has not taken yet.", func() float64 { return float64(c.queue()) })
	gauge("slots", "Slots of the node.", func() float64 { total, _ := c.slots(); return float64(total) })
	gauge("slots_used", "Slots that have an engine.", func() float64 { _, used := c.slots(); return float64(used) })
	gauge("steps_per_second", "Optimizer steps a second, over the trials whose rank 0 is here.",
		func() float64 { steps, _ := c.progress(); return steps })
	gauge("samples_per_second", "Rows a second, over the trials whose rank 0 is here and all of their ranks.",
		func() float64 { _, samples := c.progress(); return samples })
	gauge("certificate_expiry_timestamp_seconds", "When the node's certificate ends, in seconds since 1970.",
		func() float64 { return float64(c.expires().Unix()) })
	gauge("connected", "1 while a session with a coordinator is open.", func() float64 {
		if c.session() {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(engineStates{c.engines})
}

// mostSeconds is more than the steps between two messages of an engine can have taken.
const mostSeconds = 86400

// step counts steps that an engine says it has done. What cannot be is left out: a counter that is told nonsense ends the agent.
func (m *metrics) step(t *tandemv1.StepTime) {
	parts := map[string]float64{
		"data": t.GetData(), "forward": t.GetForward(), "backward": t.GetBackward(), "communication": t.GetCommunication(),
		"optimizer": t.GetOptimizer(), "checkpoint": t.GetCheckpoint(), "other": t.GetOther(),
	}
	for _, seconds := range parts {
		if math.IsNaN(seconds) || seconds < 0 || seconds > mostSeconds {
			return
		}
	}
	if t.GetSteps() <= 0 {
		return
	}
	m.steps.Add(float64(t.GetSteps()))
	for part, seconds := range parts {
		m.stepParts.WithLabelValues(part).Add(seconds)
	}
}

// spent counts where time of ranks went.
func (m *metrics) spent(l metric.Ledger) {
	for part, d := range l {
		m.goodput.WithLabelValues(metric.Part(part).String()).Add(d.Seconds())
	}
}

// engineStates counts engines by state.
type engineStates struct{ read func() map[phase]int }

var enginesDesc = prometheus.NewDesc(prometheus.BuildFQName(prom.Namespace, subsystem, "engines"), prom.Agent.Help("Engines by state."), []string{"state"}, nil)

func (engineStates) Describe(ch chan<- *prometheus.Desc) { ch <- enginesDesc }

func (s engineStates) Collect(ch chan<- prometheus.Metric) {
	n := s.read()
	for p, name := range phaseNames {
		ch <- prometheus.MustNewConstMetric(enginesDesc, prometheus.GaugeValue, float64(n[phase(p)]), name)
	}
}
