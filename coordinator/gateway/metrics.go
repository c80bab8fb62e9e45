package gateway

import (
	"net/http"
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
			Help: "Inference requests by model, HTTP status and outcome: ok, refused (the request was wrong), failed, late (the replica did not answer in time), gone (nobody waited for the answer).",
		}, []string{"model", "status", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tandem_inference_seconds",
			Help:    "Time from an inference request to its answer, both whole, by model and outcome.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"model", "outcome"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

// unknown is the model of requests for models that are not served, so that made-up names do not become series.
const unknown = "unknown"

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
	m.requests.WithLabelValues(model, strconv.Itoa(status), outcome).Inc()
	m.seconds.WithLabelValues(model, outcome).Observe(took.Seconds())
}
