package consensus

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"tandem.dev/proto/repeat"
)

// TestRaftLog: what Raft says comes out as its own logger would write it.
func TestRaftLog(t *testing.T) {
	var out bytes.Buffer
	l := (&raftLog{to: zerolog.New(&out), repeats: &repeat.Limiter{}}).With("id", "a")
	l.Info("election won", "servers", hclog.Fmt("%+v", []int{1, 2}), "node", hclog.Warn, "after", time.Second, "error", errors.New("gone"), "term", 3, "peer", raft.Server{ID: "b", Address: "host:1"})
	want := `{"level":"info","part":"raft","id":"a","servers":"[1 2]","node":"warn","after":"1s","error":"gone","term":3,"peer":"host:1","message":"election won"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}
