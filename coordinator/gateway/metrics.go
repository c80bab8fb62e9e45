package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of a Gateway.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics registers the metrics of a Gateway.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_inference_requests_total",
			Help: "Inference requests by model, HTTP status and outcome: ok, refused (the request was wrong), failed.",
		}, []string{"model", "status", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tandem_inference_seconds",
			Help:    "Time from a request to its answer, both whole, by model.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"model"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

// count counts a request. Models that are not served are counted under one name.
func (m *Metrics) count(model string, status int, took time.Duration, known bool) {
	if !known {
		model = "unknown"
	}
	outcome := "ok"
	switch {
	case status >= 500:
		outcome = "failed"
	case status >= 400:
		outcome = "refused"
	}
	m.requests.WithLabelValues(model, strconv.Itoa(status), outcome).Inc()
	if outcome == "ok" {
		m.seconds.WithLabelValues(model).Observe(took.Seconds())
	}
}
