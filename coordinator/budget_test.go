package coordinator

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestBudgets: a token that has used up what it may do is turned away with 429 and Retry-After, in one form, and others are not.
func TestBudgets(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "c"))
	cfg.Limits.Rate, cfg.Limits.Burst, cfg.Limits.Strangers = 0.001, 20, 0.1
	cfg.Limits.Held, cfg.Limits.HeldAll = 4<<20, 8<<20
	r := start(t, cfg, newStore())
	admin := r.admin(t)
	unpacks := r.client(r.mint(t, admin, "unpacks", "user", false))
	greedy, large, quiet := r.client(r.mint(t, admin, "greedy", "viewer", false)), r.client(r.mint(t, admin, "large", "user", false)), r.client(r.mint(t, admin, "quiet", "viewer", false))
	answers := map[int]int{}
	for range 25 {
		status, _ := do(t, greedy, "GET", r.url()+"/v1/jobs", "")
		answers[status]++
	}
	if answers[200] != 20 || answers[429] != 5 {
		t.Errorf("answers %v", answers)
	}
	for _, path := range []string{"/v1/jobs", "/v2", "/metrics"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := greedy.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d, Retry-After %q", path, res.StatusCode, res.Header.Get("Retry-After"))
		}
	}
	for path, want := range map[string]string{"/v1/jobs": `"resource_exhausted"`, "/tandem.v1.JobService/SubmitJob": `"resource_exhausted"`} {
		if status, body := do(t, large, "POST", r.url()+path, `{"requestId":"`+strings.Repeat(" ", 200<<10)+`"}`); status != 429 || !strings.Contains(body, want) {
			t.Errorf("%s: more bytes than a token may hold: %d %s", path, status, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.url()+"/v1/jobs", bytes.NewReader(packed(t, 2<<20))) // as 17 calls, up to the limit of a message
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	for i, want := range []int{413, 429} {
		again := req.Clone(t.Context())
		again.Body, _ = req.GetBody()
		res, err := unpacks.Do(again)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("packed body %d: %d, want %d", i+1, res.StatusCode, want)
		}
	}
	for i := range 10 {
		if status, body := do(t, quiet, "GET", r.url()+"/v1/jobs", ""); status != 200 {
			t.Errorf("call %d of another token: %d %s", i, status, body)
		}
	}
	if held := r.api.Held(); held != 0 {
		t.Errorf("%d bytes are held by nobody", held)
	}
	unknown := map[int]int{}
	for i := range 3 {
		c := r.client(fmt.Sprintf("tdm_%d", i))
		status, _ := do(t, c, "GET", r.url()+"/v1/jobs", "")
		unknown[status]++
		c.CloseIdleConnections()
	}
	if unknown[401] != 1 || unknown[429] != 2 {
		t.Errorf("unknown tokens are answered %v", unknown)
	}
	for _, c := range []*http.Client{greedy, large, quiet, unpacks} {
		c.CloseIdleConnections()
	}
}

// TestAnswersAreInTheBudget: 400 answers of 1 MB that one viewer did not read took a coordinator from 181 to 626 MB.
func TestAnswersAreInTheBudget(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "c"))
	cfg.Limits.Held = 4 << 20
	r := start(t, cfg, newStore())
	admin := r.admin(t)
	makeDataset(t, r, admin)
	spec, err := protojson.Marshal(&tandemv1.SubmitJobRequest{Spec: toySpec()})
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		if status, body := do(t, admin, "POST", r.url()+"/v1/jobs", string(spec)); status != 200 {
			t.Fatal(status, body)
		}
	}
	for query, want := range map[string]int{"?limit=10": 200, "?limit=1000": 429} {
		if status, body := do(t, admin, "GET", r.url()+"/v1/jobs"+query, ""); status != want {
			t.Errorf("%s: %d %.200s of %d bytes, want %d", query, status, body, len(body), want)
		}
	}
	if held := r.api.Held(); held != 0 {
		t.Errorf("%d bytes are held by nobody", held)
	}
}
