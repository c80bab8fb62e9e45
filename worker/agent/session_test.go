package agent

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// TestDeadCoordinators: each coordinator that does not answer is a line a minute in the log, however often it is tried.
func TestDeadCoordinators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := session{
			node: &tandemv1.Node{Id: "node-1"}, coordinators: newCoordinators(&http.Client{Transport: unreachable{}}, []string{"a:1", "b:1"}),
			silence: longestSilence, log: zerolog.New(&out), metrics: newMetrics("test"),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute-time.Second)
		defer cancel()
		must(t, s.run(ctx))
		if n := bytes.Count(out.Bytes(), []byte("\n")); n < 18 || n > 20 || bytes.Count(out.Bytes(), []byte(`"left_out":`)) != n-2 {
			t.Errorf("%d lines in 10 minutes about two coordinators:\n%s", n, out.String())
		}
	})
}
