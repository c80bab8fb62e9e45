package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"tandem.dev/coordinator/rest"
	"tandem.dev/proto/prom"
)

// Metrics of an API.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	streams  *prometheus.GaugeVec
}

// NewMetrics registers the metrics of an API.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: prom.Namespace, Name: "api_requests_total",
			Help: prom.Coordinator.Help("Requests that were answered, by procedure (or path, where there is none) and code of Connect: those that were refused before they reached it too."),
		}, []string{"procedure", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: prom.Namespace, Name: "api_request_duration_seconds",
			Help:    prom.Coordinator.Help("Time from a request to its answer, both whole, by procedure. Streams are left out."),
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"procedure"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: prom.Namespace, Name: "api_streams", Help: prom.Coordinator.Help("Streams that are open, by procedure."),
		}, []string{"procedure"}),
	}
	r.MustRegister(m.requests, m.seconds, m.streams)
	return m
}

// tally is what becomes of one request.
type tally struct {
	http.ResponseWriter
	metrics   *Metrics
	procedure string
	stream    bool
	begin     time.Time
	code      string // of Connect; empty: nobody has said it yet
	status    int    // of HTTP; 0: none was written
}

type tallyKey struct{}

// open begins to count a request.
func (m *Metrics) open(w http.ResponseWriter, c call) *tally {
	t := &tally{ResponseWriter: w, metrics: m, procedure: strings.TrimPrefix(c.name, rest.ProcedurePrefix),
		stream: c.stays, begin: time.Now()}
	if t.stream {
		m.streams.WithLabelValues(t.procedure).Inc()
	}
	return t
}

// note takes the outcome of a call; the one that is said first counts.
func (t *tally) note(err error) {
	if t != nil && t.code == "" {
		t.code = "ok"
		if err != nil {
			t.code = connect.CodeOf(connectError(err)).String()
		}
	}
}

// tallied is the count of the request at hand.
func tallied(ctx context.Context) *tally {
	t, _ := ctx.Value(tallyKey{}).(*tally)
	return t
}

// readGrace and readRate are how long a client may take to read an answer, and followGrace to go on reading a stream: somebody may have
// stopped their terminal.
const (
	readGrace   = 15 * time.Second
	readRate    = 4 << 10 // bytes a second
	followGrace = 5 * time.Minute
)

// close counts the request.
func (t *tally) close() {
	_ = http.NewResponseController(t.ResponseWriter).SetWriteDeadline(time.Time{}) // the connection goes on to the next request
	if t.code == "" {
		t.code = rest.CodeOf(t.status)
	}
	t.metrics.requests.WithLabelValues(t.procedure, t.code).Inc()
	if t.stream {
		t.metrics.streams.WithLabelValues(t.procedure).Dec()
		return
	}
	t.metrics.seconds.WithLabelValues(t.procedure).Observe(time.Since(t.begin).Seconds())
}

// WriteHeader implements http.ResponseWriter.
func (t *tally) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. Who does not read is not waited for without an end.
func (t *tally) Write(p []byte) (int, error) {
	patience := readGrace + time.Duration(len(p))*time.Second/readRate
	if t.stream {
		patience = followGrace
	}
	_ = http.NewResponseController(t.ResponseWriter).SetWriteDeadline(time.Now().Add(patience)) // a writer of a test has none
	return t.ResponseWriter.Write(p)
}

// Flush implements http.Flusher, which streams need.
func (t *tally) Flush() { _ = http.NewResponseController(t.ResponseWriter).Flush() } // the client is gone: the next write says so

// Unwrap is for http.ResponseController.
func (t *tally) Unwrap() http.ResponseWriter { return t.ResponseWriter }
