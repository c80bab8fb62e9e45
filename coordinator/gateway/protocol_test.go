package gateway

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tandem.dev/coordinator/door"
)

// TestMethods: a path of the protocol takes its method and HEAD where that is GET, names it to others, and 404 is for what does not exist.
func TestMethods(t *testing.T) {
	a := newAgent(t)
	g, s, _ := newGateway(t, a)
	put(t, s, node("n1", a), replica("r1", "n1", ready))
	paths := map[string]string{"/v2": "GET", "/v2/": "GET", "/v2/health/live": "GET", "/v2/health/ready": "GET"}
	for _, model := range []string{"/v2/models/digits", "/v2/models/digits/versions/3"} {
		paths[model], paths[model+"/ready"], paths[model+"/infer"] = "GET", "GET", "POST"
	}
	for path, takes := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			w := record(g, method, path, "")
			want, allow := http.StatusMethodNotAllowed, "POST"
			if takes == "GET" {
				allow = "GET, HEAD"
			}
			if method == takes || takes == "GET" && method == "HEAD" {
				want, allow = http.StatusOK, ""
			}
			if w.Code != want || w.Header().Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q; want %d, %q", method, path, w.Code, w.Header().Get("Allow"), want, allow)
			}
			var said struct{ Error string }
			if want != http.StatusOK && (json.Unmarshal(w.Body.Bytes(), &said) != nil || !strings.Contains(said.Error, allow)) {
				t.Errorf("%s %s: %s is not an error of the protocol that says what is allowed", method, path, w.Body)
			}
		}
	}
	for _, path := range []string{"/v2/nothing", "/v2/health", "/v2/models", "/v2/models/digits/stats", "/v2/models/digits/versions"} {
		for _, method := range []string{"GET", "POST"} {
			if w := record(g, method, path, ""); w.Code != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
	for path, want := range map[string]string{
		"/v2": `"extensions":["binary_tensor_data"]`, "/v2/health/live": `{"live":true}`, "/v2/health/ready": `{"ready":true}`,
		"/v2/models/digits/ready": `{"name":"digits","ready":true}`,
	} {
		if w := record(g, "GET", path, ""); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}

// unpacked mounts a gateway as a coordinator does: what it reads is unpacked.
func unpacked(g http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.Unpack(r, func(int64) error { return nil })
		g.ServeHTTP(w, r)
	})
}

func gzipped(b string) []byte {
	var p bytes.Buffer
	w := gzip.NewWriter(&p)
	_, _ = io.WriteString(w, b) // never fails
	_ = w.Close()
	return p.Bytes()
}

func deflated(b string) []byte {
	var p bytes.Buffer
	w := zlib.NewWriter(&p)
	_, _ = io.WriteString(w, b) // never fails
	_ = w.Close()
	return p.Bytes()
}

// TestContentEncoding: a replica gets what a body becomes, which is what has the limit; what cannot be unpacked is the client's fault.
func TestContentEncoding(t *testing.T) {
	a := newAgent(t)
	g, s, _ := newGateway(t, a)
	put(t, s, node("n1", a), replica("r1", "n1", ready))
	for _, tc := range []struct {
		encoding string
		body     []byte
		code     int
		want     string
	}{
		{"gzip", gzipped("hello"), 200, "echo hello"},
		{"deflate", deflated("hello"), 200, "echo hello"},
		{"identity", []byte("hello"), 200, "echo hello"},
		{"gzip", gzipped(strings.Repeat("x", 100)), 200, "echo x"},
		{"gzip", gzipped(strings.Repeat("x", 101)), 413, "more than 100 bytes: send fewer rows"},
		{"gzip", gzipped(strings.Repeat("x", 64<<20)), 413, "more than 100 bytes"},
		{"deflate", deflated(strings.Repeat("x", 101)), 413, "more than 100 bytes"},
		{"gzip", []byte("{}"), 400, "it is not gzip, as its Content-Encoding says"},
		{"deflate", gzipped("hello"), 400, "it is not deflate"},
		{"gzip", gzipped("hello")[:12], 400, "it is not gzip"},
		{"br", []byte("hello"), 415, `Content-Encoding \"br\": the Content-Encoding is not supported`},
		{"gzip, gzip", gzipped("hello"), 415, "is not supported"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/v2/models/digits/infer", bytes.NewReader(tc.body))
		r.Header.Set("Content-Encoding", tc.encoding)
		unpacked(g).ServeHTTP(w, r)
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s, %d bytes: %d %s, want %d %s", tc.encoding, len(tc.body), w.Code, w.Body, tc.code, tc.want)
		}
		if accepts := w.Header().Get("Accept-Encoding"); (tc.code == 415) != (accepts == "gzip, deflate") {
			t.Errorf("%s: %d says that it accepts %q", tc.encoding, w.Code, accepts)
		}
	}
	for code, want := range map[string]float64{"200": 4, "400": 3, "413": 3, "415": 2} {
		outcome := "refused"
		if code == "200" {
			outcome = "ok"
		}
		if n := testutil.ToFloat64(g.deps.Metrics.requests.WithLabelValues("digits", code, outcome)); n != want {
			t.Errorf("%v requests counted as %s, want %v", n, code, want)
		}
	}
}

// TestHangUp: a client that goes in the middle of its body, packed or not, or before its answer is gone, and nothing else.
func TestHangUp(t *testing.T) {
	a := newAgent(t)
	g, s, registry := newGateway(t, a)
	put(t, s, node("n1", a), replica("r1", "n1", ready))
	handled := make(chan struct{}, 1)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unpacked(g).ServeHTTP(w, r)
		handled <- struct{}{}
	}))
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	const head = "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n"
	plain := httptest.NewServer(front.Config.Handler)
	defer plain.Close()
	for _, part := range []string{head + "\r\n", head + "\r\nhalf", head + "Content-Encoding: gzip\r\n\r\n" + string(gzipped("hello")[:12])} {
		conn, err := net.Dial("tcp", plain.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		<-handled
	}
	for _, hold := range []bool{false, true} { // over HTTP/2: in the body, and while the replica computes
		body, send := io.Pipe()
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", front.URL+"/v2/models/digits/infer", body)
		if err != nil {
			t.Fatal(err)
		}
		free := make(chan struct{})
		if hold {
			a.mu.Lock()
			a.hold = free
			a.mu.Unlock()
		}
		go func() {
			_, _ = io.WriteString(send, "half")
			if hold {
				_ = send.Close()
				<-a.held
			}
			leave()
		}()
		if res, err := front.Client().Do(req); err == nil {
			_ = res.Body.Close()
			t.Errorf("answered %d", res.StatusCode)
		}
		<-handled
		close(free)
	}
	if n := testutil.ToFloat64(g.deps.Metrics.requests.WithLabelValues("digits", "499", "gone")); n != 5 {
		t.Errorf("%v of 5 clients were counted as gone", n)
	}
	if n := testutil.CollectAndCount(registry, "tandem_inference_requests_total"); n != 1 {
		t.Errorf("%d kinds of outcome for clients that hung up", n)
	}
	// A body whose framing is wrong has a client that waits to hear so.
	conn, err := net.Dial("tcp", plain.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprint(conn, "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n"); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 12)
	if _, err := io.ReadFull(conn, said); err != nil || string(said) != "HTTP/1.1 400" {
		t.Errorf("chunks that are none: %s, %v", said, err)
	}
	<-handled
}
