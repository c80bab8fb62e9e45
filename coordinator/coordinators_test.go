package coordinator

import (
	"net/http"
	"testing"

	"tandem.dev/proto/identity"
)

// TestAnswersNameTheCoordinators looks at all kinds of answers; strangers are told nothing.
func TestAnswersNameTheCoordinators(t *testing.T) {
	r := startOne(t)
	stranger := r.client("")
	t.Cleanup(stranger.CloseIdleConnections)
	wrong := r.client("tdm_wrong")
	t.Cleanup(wrong.CloseIdleConnections)
	admin := r.admin(t)
	for _, c := range []struct {
		via    *http.Client
		path   string
		status int
		want   string
	}{
		{admin, "/v1/cluster", http.StatusOK, r.Address()},
		{admin, "/v1/jobs/none", http.StatusNotFound, r.Address()},
		{admin, "/v2/models/none", http.StatusNotFound, r.Address()},
		{admin, "/metrics", http.StatusOK, r.Address()},
		{wrong, "/v1/cluster", http.StatusUnauthorized, ""},
		{stranger, "/v1/cluster", http.StatusUnauthorized, ""},
		{stranger, "/livez", http.StatusOK, ""},
	} {
		res, err := c.via.Get(r.url() + c.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get(identity.CoordinatorsHeader); res.StatusCode != c.status || got != c.want {
			t.Errorf("%s: status %d and coordinators %q, want %d and %q", c.path, res.StatusCode, got, c.status, c.want)
		}
	}
}
