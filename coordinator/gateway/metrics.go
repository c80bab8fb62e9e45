package gateway

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tandem.dev/proto/prom"
)

// Metrics of a Gateway.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	mu     sync.Mutex
	served map[string]bool // models that have series, and whether they were served when Keep looked last
}

// NewMetrics registers the metrics of a Gateway.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: prom.Namespace, Name: "inference_requests_total",
			Help: prom.Coordinator.Help("Inference requests by model, HTTP status and outcome: ok, refused (the request was wrong), failed, late (the replica did not answer in time), gone (nobody waited for the answer)."),
		}, []string{"model", "status", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: prom.Namespace, Name: "inference_duration_seconds",
			Help:    prom.Coordinator.Help("Time from an inference request to its answer, both whole, by model and outcome."),
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"model", "outcome"}),
		served: map[string]bool{},
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

// Unknown is the model of requests for models that are not served, so that made-up names do not become series.
const Unknown = "unknown"

// count counts an inference request.
func (m *Metrics) count(model string, status int, took time.Duration) {
	outcome := "ok"
	switch {
	case status == statusClientGone:
		outcome = "gone"
	case status == http.StatusGatewayTimeout:
		outcome = "late"
	case status >= 500:
		outcome = "failed"
	case status >= 400:
		outcome = "refused"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.served[model] = true
	m.requests.WithLabelValues(model, strconv.Itoa(status), outcome).Inc()
	m.seconds.WithLabelValues(model, outcome).Observe(took.Seconds())
}

// Keep ends the series of models that were not served the last time either: each scrape calls it, so that the end of a series has
// been shown before.
func (m *Metrics) Keep(served func(model string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for model, was := range m.served {
		switch is := model == Unknown || served(model); {
		case is || was:
			m.served[model] = is
		default:
			m.requests.DeletePartialMatch(prometheus.Labels{"model": model})
			m.seconds.DeletePartialMatch(prometheus.Labels{"model": model})
			delete(m.served, model)
		}
	}
}
