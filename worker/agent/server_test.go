package agent

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/inference"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// bearer adds a token.
type bearer struct {
	http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}

func TestServer(t *testing.T) {
	c := newCluster(t)
	m := c.open("127.0.0.1:0")
	a := c.start(t.TempDir())
	replica := &tandemv1.EngineTask{
		Id: "replica-1", SlotId: "cpu0", Task: &tandemv1.EngineTask_Serve{Serve: &tandemv1.ServeTask{ReplicaId: "replica-1", Model: "digits"}},
	}
	c.want(replica)
	c.report("replica-1", "ready", isReady)

	client := func(creds *identity.Credentials) *http.Client {
		h := creds.HTTPClient(identity.NodeName("node-1"))
		t.Cleanup(h.CloseIdleConnections)
		return h
	}
	coordinator := client(c.creds)
	worker := client(c.credentials(identity.RoleWorker, "node-2"))
	anyone := &http.Client{Transport: identity.Transport(c.creds.ClientConfig(identity.NodeName("node-1")))}
	anyone.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	anyone.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = nil
	t.Cleanup(anyone.CloseIdleConnections)

	agentAnswer := ""
	get := func(client *http.Client, path string) (int, string) {
		t.Helper()
		res, err := client.Get("https://" + a.Address(t.Context()) + path)
		must(t, err)
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		must(t, err)
		agentAnswer = res.Header.Get(inference.AgentAnswer)
		return res.StatusCode, string(b)
	}
	for _, tc := range []struct {
		name   string
		client *http.Client
		path   string
		status int
		want   string
		agent  string // inference.AgentAnswer
	}{
		{"coordinator to replica", coordinator, "/replicas/replica-1/v2/models/digits/infer?a=b", 200, "GET /v2/models/digits/infer?a=b by", ""},
		{"worker to replica", worker, "/replicas/replica-1/v2/health/live", 403, "worker", inference.Refused},
		{"anyone to replica", anyone, "/replicas/replica-1/v2/health/live", 401, "certificate", inference.Refused},
		{"no such replica", coordinator, "/replicas/replica-2/v2/health/live", 503, "not on this node", inference.Unreached},
		{"replica breaks off", coordinator, "/replicas/replica-1/break", 502, "does not answer", inference.Broken},
		{"anyone to metrics", anyone, "/metrics", 401, "role viewer", inference.Refused},
		{"live", anyone, "/livez", 200, "ok", ""},
		{"ready", anyone, "/readyz", 200, "ok", ""},
	} {
		status, body := get(tc.client, tc.path)
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %q, want %d %q", tc.name, status, body, tc.status, tc.want)
		}
		if agentAnswer != tc.agent {
			t.Errorf("%s: the answer's origin is %q, want %q", tc.name, agentAnswer, tc.agent)
		}
		var refusal struct{ Error string }
		if tc.agent != "" && (json.Unmarshal([]byte(body), &refusal) != nil || !strings.Contains(refusal.Error, tc.want)) {
			t.Errorf("%s: %q is not an error of the inference protocol", tc.name, body)
		}
	}
	// A token that the coordinators have told of reads the metrics and nothing else.
	c.change(func() {
		c.viewers = &tandemv1.Viewers{Tokens: []*tandemv1.ViewerToken{{Sha256: identity.HashToken("tdm_prometheus")}}}
	})
	prometheus := &http.Client{Transport: bearer{anyone.Transport, "tdm_prometheus"}}
	for status := 0; status != http.StatusOK; status, _ = get(prometheus, "/metrics") {
		select {
		case <-t.Context().Done():
			t.Fatal("the agent does not hear of a token")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if status, _ := get(&http.Client{Transport: bearer{anyone.Transport, "tdm_other"}}, "/metrics"); status != http.StatusUnauthorized {
		t.Errorf("metrics with a token that nobody told of: %d", status)
	}
	if status, _ := get(prometheus, "/replicas/replica-1/v2/health/live"); status != http.StatusUnauthorized {
		t.Errorf("a replica with the token: %d", status)
	}
	_, figures := get(worker, "/metrics")
	for _, want := range []string{
		`tandem_agent_engines{state="ready"} 1`, "tandem_agent_slots 2", "tandem_agent_slots_used 1", "tandem_agent_connected 1",
		`tandem_agent_replica_requests_total{outcome="ok"} 1`, `tandem_agent_replica_requests_total{outcome="broken"} 1`,
		`tandem_agent_engine_starts_total{kind="serve"} 1`,
	} {
		if !strings.Contains(figures, want) {
			t.Errorf("no %s in\n%s", want, figures)
		}
	}

	// The certificate of a node that was removed is valid for years, and refused as soon as the agent hears of it.
	c.change(func() { c.exiles = []string{"node-2"} })
	for status := 0; status != http.StatusForbidden; status, _ = get(worker, "/metrics") {
		select {
		case <-t.Context().Done():
			t.Fatal("the agent does not hear of a node that was removed")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if status, _ := get(coordinator, "/metrics"); status != http.StatusOK {
		t.Errorf("metrics for a coordinator that was not removed: %d", status)
	}

	// Without a coordinator the node is not ready, but it lives and serves. That the agent tries again shows that it knows.
	c.change(func() { c.mute = true })
	m.close()
	m = c.open(m.address)
	c.await("another session", func() bool { return c.opened == 2 })
	m.close()
	if status, body := get(anyone, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz without a coordinator: %d %s", status, body)
	}
	if status, _ := get(coordinator, "/replicas/replica-1/v2/health/live"); status != http.StatusOK {
		t.Errorf("a replica without a coordinator: %d", status)
	}
}

// TestReplicaSocket: what an agent says for a replica that takes no connections bears its mark, and nothing else does.
func TestReplicaSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	s := newServer(func(string) (string, bool) { return socket, true }, newMetrics("test"), nil, &exiles{}, &viewers{}, nil, zerolog.Nop())
	t.Cleanup(s.dials.CloseIdleConnections)
	ask := func() *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", inference.Replicas+"r1/v2/models/digits/infer", nil)
		r.SetPathValue("id", "r1")
		s.replica(w, r)
		return w
	}
	if w := ask(); w.Code != 503 || w.Header().Get(inference.AgentAnswer) != inference.Unreached || !strings.HasPrefix(w.Body.String(), `{"error":`) {
		t.Errorf("nobody listens: %d %v %s", w.Code, w.Header(), w.Body)
	}
	l, err := listenUnix(socket)
	must(t, err)
	replica := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(inference.AgentAnswer, inference.Unreached) // which it has no right to
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(503)
	}), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = replica.Serve(l)
	}()
	t.Cleanup(func() {
		_ = replica.Close()
		<-done
	})
	if w := ask(); w.Code != 503 || w.Header().Get(inference.AgentAnswer) != "" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("a busy replica: %d %v", w.Code, w.Header())
	}
}

// TestCallerHangsUp: a caller that does not wait for a replica's answer is counted as gone, and is no news of this node.
func TestCallerHangsUp(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := listenUnix(socket)
	must(t, err)
	computes, free := make(chan struct{}), make(chan struct{})
	replica := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(computes); <-free }), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = replica.Serve(l)
	}()
	t.Cleanup(func() {
		close(free)
		_ = replica.Close()
		<-done
	})
	var log strings.Builder
	m := newMetrics("test")
	s := newServer(func(string) (string, bool) { return socket, true }, m, nil, &exiles{}, &viewers{}, nil, zerolog.New(&log))
	t.Cleanup(s.dials.CloseIdleConnections)
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-computes; leave() }()
	r := httptest.NewRequestWithContext(ctx, "POST", inference.Replicas+"r1/v2/models/digits/infer", nil)
	r.SetPathValue("id", "r1")
	s.replica(httptest.NewRecorder(), r)
	if n := testutil.ToFloat64(m.requests.WithLabelValues("gone")); n != 1 || log.Len() != 0 {
		t.Errorf("%v callers are gone, and the log says %q", n, log.String())
	}
}
