package rest

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
)

// TestEveryPathNamesItsProcedure: REST and procedure paths are found as the schema has them, and nothing else is.
func TestEveryPathNamesItsProcedure(t *testing.T) {
	r, err := NewRouter()
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`\{[^}]*\}`)
	rest := 0
	for name, m := range r.methods {
		if got := r.Find(httptest.NewRequest(http.MethodPost, name, nil)); got != name {
			t.Errorf("%s is found as %q", name, got)
		}
		rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			continue
		}
		rest++
		method, path := http.MethodPost, rule.GetPost()
		if rule.GetGet() != "" {
			method, path = http.MethodGet, rule.GetGet()
		} else if rule.GetDelete() != "" {
			method, path = http.MethodDelete, rule.GetDelete()
		}
		path = variable.ReplaceAllString(path, "a.b@1")
		if got := r.Find(httptest.NewRequest(method, path, nil)); got != name {
			t.Errorf("%s %s is found as %q, want %s", method, path, got, name)
		}
		if got := r.Find(httptest.NewRequest(http.MethodOptions, path, nil)); got != "" {
			t.Errorf("OPTIONS %s is found as %q", path, got)
		}
	}
	if rest < 30 {
		t.Errorf("%d procedures have a REST path", rest)
	}
	for _, path := range []string{"/", "/v1", "/v1/jobs/", "/v1/jobs/a/b/c", "/v1//jobs", "/v1/jobs/../tokens", "/v1/jobs/a%2Fb", "/tandem.v1.JobService/Made", "/tandem.v1."} {
		if got := r.Find(httptest.NewRequest(http.MethodGet, path, nil)); got != "" {
			t.Errorf("%s is found as %q", path, got)
		}
	}
	if !r.Uploads("/tandem.v1.ArtifactService/UploadArtifact") || r.Uploads("/tandem.v1.JobService/SubmitJob") || r.Uploads(strings.Repeat("x", 9)) {
		t.Error("what takes a stream of messages is not told apart")
	}
}
