package agent

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
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
			node: func() *tandemv1.Node { return &tandemv1.Node{Id: "node-1"} }, coordinators: newCoordinators(&http.Client{Transport: unreachable{}}, []string{"a:1", "b:1"}),
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

// TestNodeRegistersAgain: when there is something new to say of the node, it registers again at once, with the same coordinator: that is no
// fault of his, and no line in the log.
func TestNodeRegistersAgain(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	client := c.creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	defer client.CloseIdleConnections()
	var full atomic.Pointer[[]*tandemv1.FullFolder]
	full.Store(&[]*tandemv1.FullFolder{})
	var out bytes.Buffer
	s := session{
		node:         func() *tandemv1.Node { return &tandemv1.Node{Id: "node-1", FullFolders: *full.Load()} },
		coordinators: newCoordinators(client, c.members), silence: longestSilence,
		want: func(*tandemv1.SessionResponse) bool { return true }, keys: func(int64) {}, learned: func([]string) {}, exiles: &exiles{}, viewers: &viewers{},
		metrics: newMetrics("test"), first: make(chan struct{}), news: make(chan struct{}, 1), log: zerolog.New(&out).Level(zerolog.WarnLevel),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.run(ctx) }()
	<-s.first
	one := []*tandemv1.FullFolder{{Path: "/cache", Cause: "no space left on device"}}
	for n, folders := range [][]*tandemv1.FullFolder{one, nil} {
		full.Store(&folders)
		s.tell()
		c.await("it registers again", func() bool { return c.opened == n+2 && len(c.node.GetFullFolders()) == len(folders) })
	}
	cancel()
	must(t, <-done)
	if out.Len() > 0 {
		t.Errorf("the log complains: %s", out.String())
	}
}
