package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/inference"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// agent is a worker's HTTPS port with one replica behind it.
type agent struct {
	*httptest.Server
	mu     sync.Mutex
	paths  []string
	status int
	own    string        // when set, the agent answers itself: inference.AgentAnswer
	hold   chan struct{} // when set, answers wait for it
	held   chan struct{} // gets a value for each answer that waits
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{status: http.StatusOK, held: make(chan struct{}, 10)}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.paths = append(a.paths, r.URL.Path)
		status, hold, own := a.status, a.hold, a.own
		a.mu.Unlock()
		if hold != nil {
			a.held <- struct{}{}
			<-hold
		}
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "7")
		}
		if own != "" {
			w.Header().Set(inference.AgentAnswer, own)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error": "not on this node"}`)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(append([]byte("echo "), b...))
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *agent) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.paths)
}

// put writes rows as commands would.
func put(t *testing.T, s *state.State, rows ...proto.Message) {
	t.Helper()
	tx := s.Begin()
	tx.SetIndex(s.Index() + 1)
	for _, r := range rows {
		tx.Put(r)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func node(id string, a *agent) *tandemv1.Node {
	return &tandemv1.Node{Id: id, State: tandemv1.NodeState_NODE_STATE_ALIVE, Address: a.Listener.Addr().String()}
}

func replica(id, on string, s tandemv1.ReplicaState) *tandemv1.Replica {
	return &tandemv1.Replica{Id: id, Deployment: "digits", Version: 3, NodeId: on, State: s}
}

const ready = tandemv1.ReplicaState_REPLICA_STATE_READY

func newGateway(t *testing.T, a *agent) (*Gateway, *state.State, *prometheus.Registry) {
	t.Helper()
	s, registry := state.New(), prometheus.NewRegistry()
	put(t, s, &tandemv1.Deployment{Name: "digits", Version: 3, Reason: "waits for a slot"})
	cfg := DefaultConfig()
	cfg.MaxBody = 100
	g, err := New(cfg, Deps{
		State: s, Project: project, Client: func(string) *http.Client { return a.Client() }, Ready: func() error { return nil },
		Metrics: NewMetrics(registry), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, s, registry
}

type projectKey struct{}

// project is the one that a test says a request is in.
func project(ctx context.Context) string {
	if p, ok := ctx.Value(projectKey{}).(string); ok {
		return p
	}
	return state.DefaultProject
}

// TestModelsOfAnotherProject: a request finds the deployment of its project, and none of the same name elsewhere.
func TestModelsOfAnotherProject(t *testing.T) {
	a := newAgent(t)
	g, s, registry := newGateway(t, a)
	put(t, s, node("n1", a), &tandemv1.Deployment{Name: "digits", Project: "vision", Version: 7}, &tandemv1.Deployment{Name: "faces", Project: "vision", Version: 1},
		replica("r1", "n1", ready), &tandemv1.Replica{Id: "r7", Deployment: "vision/digits", Version: 7, NodeId: "n1", State: ready},
		&tandemv1.Replica{Id: "r8", Deployment: "vision/faces", Version: 1, NodeId: "n1", State: ready})
	for _, tc := range []struct {
		project, path string
		code          int
		asked         string
	}{
		{"default", "/v2/models/digits/infer", 200, "/replicas/r1/v2/models/digits/infer"},
		{"default", "/v2/models/faces/infer", 404, ""},
		{"default", "/v2/models/vision%2Ffaces/infer", 404, ""},
		{"vision", "/v2/models/digits/infer", 200, "/replicas/r7/v2/models/digits/infer"},
		{"vision", "/v2/models/faces/infer", 200, "/replicas/r8/v2/models/faces/infer"},
		{"speech", "/v2/models/digits/infer", 404, ""},
		{"", "/v2/models/digits/infer", 404, ""},
	} {
		a.paths = nil
		w := httptest.NewRecorder()
		ctx := context.WithValue(t.Context(), projectKey{}, tc.project)
		g.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", tc.path, strings.NewReader("{}")))
		if w.Code != tc.code || strings.Join(a.paths, " ") != tc.asked {
			t.Errorf("%s in project %q: %d %s, and agents were asked %q", tc.path, tc.project, w.Code, w.Body, a.paths)
		}
	}
	families, err := registry.Gather()
	if err != nil || !strings.Contains(fmt.Sprint(families), `value:"vision/digits"`) {
		t.Errorf("%v, %v: models of two projects are one", families, err)
	}
}

func ask(g *Gateway, method, path, body string) (int, string) {
	w := record(g, method, path, body)
	return w.Code, w.Body.String()
}

func record(g *Gateway, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func TestPass(t *testing.T) {
	a := newAgent(t)
	g, s, registry := newGateway(t, a)
	if code, body := ask(g, "POST", "/v2/models/digits/infer", "{}"); code != 503 || !strings.Contains(body, "waits for a slot") {
		t.Errorf("without a replica: %d %s", code, body)
	}
	put(t, s, node("n1", a), replica("r1", "n1", ready), replica("r0", "n1", tandemv1.ReplicaState_REPLICA_STATE_STARTING))
	for _, tc := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/v2/models/digits/infer", `{"x":1}`, 200, `echo {"x":1}`},
		{"POST", "/v2/models/digits/versions/3/infer", `{}`, 200, "echo"},
		{"GET", "/v2/models/digits", "", 200, "echo"},
		{"GET", "/v2/models/digits/ready", "", 200, ""},
		{"POST", "/v2/models/digits/versions/2/infer", `{}`, 404, "version 3 is"},
		{"POST", "/v2/models/digits/versions/0/infer", `{}`, 400, "those begin with 1"},
		{"POST", "/v2/models/other/infer", `{}`, 404, "not served"},
		{"POST", "/v2/models/digits/infer", strings.Repeat("x", 101), 413, "fewer rows"},
		{"POST", "/v2/nothing", "", 404, "Open Inference Protocol"},
		{"GET", "/v2", "", 200, "tandem"},
	} {
		if code, body := ask(g, tc.method, tc.path, tc.body); code != tc.code || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tc.method, tc.path, code, body, tc.code, tc.want)
		}
	}
	if want := "/replicas/r1/v2/models/digits/infer"; a.paths[0] != want {
		t.Errorf("the agent was asked %s, want %s", a.paths[0], want)
	}
	// What the replica says of a wrong request comes back as it is.
	a.status = http.StatusBadRequest
	if code, body := ask(g, "POST", "/v2/models/digits/infer", "bad"); code != 400 || body != "echo bad" {
		t.Errorf("validation: %d %s", code, body)
	}
	// A client that is gone hears nothing, but is counted.
	gone, leave := context.WithCancel(t.Context())
	leave()
	g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "POST", "/v2/models/digits/infer", nil))
	want := `
# HELP tandem_inference_requests_total Inference requests by model, HTTP status and outcome: ok, refused (the request was wrong), failed, late (the replica did not answer in time), gone (nobody waited for the answer). Per coordinator.
# TYPE tandem_inference_requests_total counter
tandem_inference_requests_total{model="digits",outcome="failed",status="503"} 1
tandem_inference_requests_total{model="digits",outcome="gone",status="499"} 1
tandem_inference_requests_total{model="digits",outcome="ok",status="200"} 2
tandem_inference_requests_total{model="digits",outcome="refused",status="400"} 2
tandem_inference_requests_total{model="digits",outcome="refused",status="404"} 1
tandem_inference_requests_total{model="digits",outcome="refused",status="413"} 1
tandem_inference_requests_total{model="unknown",outcome="refused",status="404"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "tandem_inference_requests_total"); err != nil {
		t.Error(err)
	}
	// How long each took is there for each model and outcome.
	times := map[string]uint64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				key := f.GetName()
				for _, l := range m.GetLabel() {
					key += " " + l.GetName() + "=" + l.GetValue()
				}
				times[key] = h.GetSampleCount()
			}
		}
	}
	if diff := cmp.Diff(map[string]uint64{
		"tandem_inference_duration_seconds model=digits outcome=failed":   1,
		"tandem_inference_duration_seconds model=digits outcome=gone":     1,
		"tandem_inference_duration_seconds model=digits outcome=ok":       2,
		"tandem_inference_duration_seconds model=digits outcome=refused":  4,
		"tandem_inference_duration_seconds model=unknown outcome=refused": 1,
	}, times); diff != "" {
		t.Error(diff)
	}
}

// TestKeep: the series of a model end when it was not served twice in a row.
// TestLargeBody: a body arrives whole, at another replica too when one is busy, and takes few bytes more than it has.
func TestLargeBody(t *testing.T) {
	const size = 24 << 20
	sent := bytes.Repeat([]byte("0123456,"), size/8)
	var arrived []int64
	read := make([]byte, 64<<10)
	a := &agent{Server: httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, same := int64(0), r.ContentLength == size
		for {
			m, err := r.Body.Read(read)
			same = same && bytes.Equal(read[:m], sent[n:n+int64(m)])
			if n += int64(m); err != nil {
				break
			}
		}
		if arrived = append(arrived, n); !same {
			t.Errorf("other bytes arrive, or %d are announced", r.ContentLength)
		}
		if len(arrived) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))}
	t.Cleanup(a.Close)
	g, s, _ := newGateway(t, a)
	g.cfg.MaxBody = size
	put(t, s, node("n1", a), replica("r1", "n1", ready), replica("r2", "n1", ready))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("POST", "/v2/models/digits/infer", bytes.NewReader(sent)))
	runtime.ReadMemStats(&after)
	if w.Code != http.StatusOK || !cmp.Equal(arrived, []int64{size, size}) {
		t.Errorf("%d %s, arrived: %d", w.Code, w.Body, arrived)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > size+size/2 { // sync.Pool forgets more under the race detector
		t.Errorf("a request of %d MiB takes %d MiB", size>>20, took>>20)
	}
	if code, _ := ask(g, "POST", "/v2/models/digits/infer", strings.Repeat("x", size+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a byte too many: %d", code)
	}
}

func TestKeep(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	served := map[string]bool{"a": true, "b": true}
	series := func() int {
		m.Keep(func(model string) bool { return served[model] })
		n, err := testutil.GatherAndCount(registry, "tandem_inference_requests_total", "tandem_inference_duration_seconds")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, model := range []string{"a", "b", Unknown} {
		m.count(model, 200, time.Second)
	}
	got := []int{series()}
	delete(served, "b")
	got = append(got, series(), series(), series())
	served["b"] = true
	m.count("b", 200, time.Second)
	if diff := cmp.Diff([]int{6, 6, 4, 4, 6}, append(got, series())); diff != "" {
		t.Error(diff)
	}
}

func TestRetryElsewhere(t *testing.T) {
	for name, broken := range map[string]func(*agent){
		"agent gone":   func(a *agent) { a.Close() },
		"engine gone":  func(a *agent) { a.status, a.own = http.StatusBadGateway, inference.Broken },
		"replica gone": func(a *agent) { a.status, a.own = http.StatusServiceUnavailable, inference.Unreached },
		"not let in":   func(a *agent) { a.status, a.own = http.StatusForbidden, inference.Refused },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newAgent(t), newAgent(t)
			g, s, _ := newGateway(t, good)
			put(t, s, node("n1", bad), node("n2", good), replica("r1", "n1", ready), replica("r2", "n2", ready))
			broken(bad)
			for range 4 { // whoever comes first
				if code, body := ask(g, "POST", "/v2/models/digits/infer", "hello"); code != 200 || body != "echo hello" {
					t.Errorf("%d %s", code, body)
				}
			}
			if good.asked() != 4 {
				t.Errorf("the good one was asked %d times", good.asked())
			}
			good.status, good.own = http.StatusServiceUnavailable, inference.Unreached
			var said struct{ Error string }
			if code, body := ask(g, "POST", "/v2/models/digits/infer", "hello"); code != 502 || json.Unmarshal([]byte(body), &said) != nil || !strings.Contains(said.Error, "try again") {
				t.Errorf("%d %s", code, body)
			}
			if len(g.picker.inFlight) != 0 {
				t.Errorf("in flight after all: %v", g.picker.inFlight)
			}
		})
	}
}

// TestBusy: a replica that is busy is left for another one; when there is none the client hears when to come again.
func TestBusy(t *testing.T) {
	busy, idle := newAgent(t), newAgent(t)
	g, s, _ := newGateway(t, idle)
	busy.status = http.StatusServiceUnavailable
	put(t, s, node("n1", busy), replica("r1", "n1", ready))
	if w := record(g, "POST", "/v2/models/digits/infer", "x"); w.Code != 503 || w.Body.String() != "echo x" || w.Header().Get("Retry-After") != "7" || busy.asked() != 1 {
		t.Errorf("the only one is busy: %d %v %s, asked %d times", w.Code, w.Header(), w.Body, busy.asked())
	}
	put(t, s, node("n2", idle), replica("r2", "n2", ready))
	for range 4 {
		if code, body := ask(g, "POST", "/v2/models/digits/infer", "x"); code != 200 {
			t.Errorf("another one is idle: %d %s", code, body)
		}
	}
	idle.Close()
	before := busy.asked()
	for range 2 { // whoever comes first
		if w := record(g, "POST", "/v2/models/digits/infer", "x"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("one is busy, one is gone: %d %v %s", w.Code, w.Header(), w.Body)
		}
	}
	if busy.asked() != before+2 || len(g.picker.inFlight) != 0 {
		t.Errorf("the busy one was asked %d times for 2 requests; in flight after all: %v", busy.asked()-before, g.picker.inFlight)
	}
}

// TestNodeGone: when a node is gone its other replicas are not tried in vain.
func TestNodeGone(t *testing.T) {
	gone, good := newAgent(t), newAgent(t)
	g, s, _ := newGateway(t, good)
	put(t, s, node("n1", gone), node("n2", good), replica("r1", "n1", ready), replica("r2", "n1", ready), replica("r3", "n1", ready),
		replica("r4", "n2", ready))
	gone.Close()
	for range 8 { // whoever comes first
		if code, body := ask(g, "POST", "/v2/models/digits/infer", "x"); code != 200 {
			t.Errorf("%d %s", code, body)
		}
	}
	if good.asked() != 8 {
		t.Errorf("the good one was asked %d times", good.asked())
	}
}

func TestLeastInFlight(t *testing.T) {
	slow, fast := newAgent(t), newAgent(t)
	slow.hold = make(chan struct{})
	g, s, _ := newGateway(t, slow)
	put(t, s, node("n1", slow), replica("r1", "n1", ready))
	var wg sync.WaitGroup
	wg.Go(func() { ask(g, "POST", "/v2/models/digits/infer", "") })
	<-slow.held
	put(t, s, node("n2", fast), replica("r2", "n2", ready))
	for range 5 {
		if code, _ := ask(g, "POST", "/v2/models/digits/infer", ""); code != 200 {
			t.Errorf("%d", code)
		}
	}
	if fast.asked() != 5 {
		t.Errorf("the idle replica was asked %d of 5 times", fast.asked())
	}
	close(slow.hold)
	wg.Wait()
}

// TestLate: a replica that computes for too long is not asked twice.
func TestLate(t *testing.T) {
	slow := newAgent(t)
	slow.hold = make(chan struct{})
	defer close(slow.hold)
	g, s, _ := newGateway(t, slow)
	g.cfg.Timeout = 50 * time.Millisecond
	put(t, s, node("n1", slow), replica("r1", "n1", ready), replica("r2", "n1", ready))
	var said struct{ Error string }
	code, body := ask(g, "POST", "/v2/models/digits/infer", "")
	if err := json.Unmarshal([]byte(body), &said); err != nil || code != 504 || !strings.Contains(said.Error, "50ms") || slow.asked() != 1 {
		t.Errorf("%d %s (%v), asked %d times", code, body, err, slow.asked())
	}
	if n := testutil.ToFloat64(g.deps.Metrics.requests.WithLabelValues("digits", "504", "late")); n != 1 {
		t.Errorf("%v requests counted as late", n)
	}
}
