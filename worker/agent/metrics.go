package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	tandemv1 "tandem.dev/proto/tandem/v1"
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
}

// counts are figures read when they are asked for.
type counts struct {
	engines  func() map[phase]int
	queue    func() int
	slots    func() (total, used int)
	progress func() (stepsPerSecond, samplesPerSecond float64)
	steps    func() map[string]int64 // by trial
	parts    func() map[string]*tandemv1.StepTime
	session  func() bool
	expires  func() time.Time // the node's certificate
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tandem_agent", Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tandem_agent", Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		started:   vec("engine_starts_total", "Engines started, by kind of task.", "kind"),
		restarted: counter("engine_restarts_total", "Engines started for a generation above the first."),
		reused:    counter("engine_reuses_total", "Engines that got the process of another task of their job."),
		ended:     vec("engine_ends_total", "Engines that ended, by outcome: finished, stopped or failed by their own word, lost (no word), ended (by the agent).", "outcome"),
		reports:   vec("reports_total", "Reports the coordinator answered, by outcome.", "outcome"),
		requests:  vec("replica_requests_total", "Requests to replicas, by outcome.", "outcome"),
		sessions:  counter("sessions_total", "Sessions opened with coordinators."),
		logBytes:  counter("log_bytes_total", "Bytes of log lines of engines."),
		logErrors: counter("log_errors_total", "Log lines or chunks that could not be written at once."),
	}
	m.registry.MustRegister(m.started, m.restarted, m.reused, m.ended, m.reports, m.requests, m.sessions, m.logBytes, m.logErrors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe registers the figures that are read when asked for.
func (m *metrics) observe(c counts) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tandem_agent", Name: name, Help: help}, value))
	}
	gauge("report_queue_length", "Reports that the coordinator has not taken yet.", func() float64 { return float64(c.queue()) })
	gauge("slots", "Slots of the node.", func() float64 { total, _ := c.slots(); return float64(total) })
	gauge("slots_used", "Slots that have an engine.", func() float64 { _, used := c.slots(); return float64(used) })
	gauge("steps_per_second", "Optimizer steps a second, over the trials with ranks here.",
		func() float64 { steps, _ := c.progress(); return steps })
	gauge("samples_per_second", "Rows a second, over the trials with ranks here (of all their ranks).",
		func() float64 { _, samples := c.progress(); return samples })
	gauge("certificate_expiry_timestamp_seconds", "When the node's certificate ends, in seconds since 1970.",
		func() float64 { return float64(c.expires().Unix()) })
	gauge("connected", "1 while a session with a coordinator is open.", func() float64 {
		if c.session() {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(engineStates{c.engines}, trialSteps{c.steps}, stepParts{c.parts})
}

// stepParts is where the time of a step goes, of the trials with rank 0 here.
type stepParts struct {
	read func() map[string]*tandemv1.StepTime
}

var stepPartDesc = prometheus.NewDesc("tandem_agent_step_seconds", "Seconds of a step by part, over the last steps, of the trials whose rank 0 is here.", []string{"trial", "part"}, nil)

func (stepParts) Describe(ch chan<- *prometheus.Desc) { ch <- stepPartDesc }

func (s stepParts) Collect(ch chan<- prometheus.Metric) {
	for trial, t := range s.read() {
		for part, seconds := range map[string]float64{
			"data": t.GetData(), "forward": t.GetForward(), "backward": t.GetBackward(), "communication": t.GetCommunication(),
			"optimizer": t.GetOptimizer(), "checkpoint": t.GetCheckpoint(), "other": t.GetOther(),
		} {
			ch <- prometheus.MustNewConstMetric(stepPartDesc, prometheus.GaugeValue, seconds/float64(t.GetSteps()), trial, part)
		}
	}
}

// trialSteps is how far the trials with engines here are.
type trialSteps struct{ read func() map[string]int64 }

var trialStepDesc = prometheus.NewDesc("tandem_agent_trial_step", "Optimizer steps done, by trial.", []string{"trial"}, nil)

func (trialSteps) Describe(ch chan<- *prometheus.Desc) { ch <- trialStepDesc }

func (s trialSteps) Collect(ch chan<- prometheus.Metric) {
	for trial, step := range s.read() {
		ch <- prometheus.MustNewConstMetric(trialStepDesc, prometheus.GaugeValue, float64(step), trial)
	}
}

// engineStates counts engines by state.
type engineStates struct{ read func() map[phase]int }

var enginesDesc = prometheus.NewDesc("tandem_agent_engines", "Engines by state.", []string{"state"}, nil)

func (engineStates) Describe(ch chan<- *prometheus.Desc) { ch <- enginesDesc }

func (s engineStates) Collect(ch chan<- prometheus.Metric) {
	n := s.read()
	for p, name := range phaseNames {
		ch <- prometheus.MustNewConstMetric(enginesDesc, prometheus.GaugeValue, float64(n[phase(p)]), name)
	}
}
