package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// entries is an audit log in memory.
type entries struct {
	Audit
	lines []string
}

func (e *entries) Record(a *tandemv1.AuditEntry) {
	e.lines = append(e.lines, fmt.Sprint(a.GetActor(), " ", a.GetMethod(), " ", a.GetSubject(), " ", a.GetOutcome()))
}

// TestFailedInferenceIsWrittenDown: who asked what a model did not come back from, or died of; nobody else.
func TestFailedInferenceIsWrittenDown(t *testing.T) {
	log := &entries{}
	a := &API{deps: Deps{Audit: log}}
	answer := 0
	models := http.NewServeMux()
	models.HandleFunc("POST /v2/models/{model}/infer", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) })
	for _, answer = range []int{200, 400, 499, 503, 504, 502} {
		count := &tally{ResponseWriter: httptest.NewRecorder()}
		ctx := context.WithValue(context.WithValue(t.Context(), principalKey{}, Principal{Name: "ann"}), tallyKey{}, count)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v2/models/digits/infer", nil)
		a.recordsFailures(models).ServeHTTP(count, r)
	}
	want := []string{"ann /v2 digits deadline_exceeded", "ann /v2 digits unavailable"}
	if d := cmp.Diff(want, log.lines); d != "" {
		t.Error(d)
	}
}
