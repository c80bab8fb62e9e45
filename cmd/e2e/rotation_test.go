package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestRotation replaces the CA and the gossip key while two workers on two nodes train: they train on in the same processes and the same
// group. Then a new job connects the nodes anew, by certificates of the new CA alone.
func TestRotation(t *testing.T) {
	c := newCluster(t, 1, 2, 1)
	c.digits()
	id := c.submit(c.spec("long", longMLP("long", 100_000)))
	step := func() int64 {
		res, err := c.api.Jobs.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: id}))
		if err != nil || len(res.Msg.GetProgress()) == 0 {
			return 0
		}
		return res.Msg.GetProgress()[0].GetStep()
	}
	eventually(t, 30*time.Second, "the job trains", func() bool { return step() > 0 })
	engines, before := under(c.dir), c.keys()
	c.run(0, "cluster", "rotate-ca")
	c.run(0, "cluster", "rotate-gossip-key")
	eventually(t, 30*time.Second, "the former CA can be given up", func() bool {
		c.run(0, "context", "refresh")
		c.runAny("cluster", "rotate-ca", "--finish", "-y")
		return c.code == 0
	})
	c.connect()
	eventually(t, 30*time.Second, "nothing is left of the former keys", func() bool {
		res, err := c.api.Cluster.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		r, now := res.Msg.GetRotation(), c.keys()
		for file, content := range before {
			if bytes.Contains(now[file], bytes.TrimSpace(content)) {
				return false
			}
		}
		return strings.Count(r.GetCaPem(), "BEGIN CERTIFICATE") == 1 && r.GetGossip() == tandemv1.KeyState_KEY_STATE_UNSPECIFIED && r.GetAuthority() == tandemv1.KeyState_KEY_STATE_UNSPECIFIED
	})
	at := step()
	eventually(t, 30*time.Second, "the job trains on", func() bool { return step() > at+10 })
	_, trial, err := job(t.Context(), c.api, id)
	if err != nil {
		t.Fatal(err)
	}
	if after := under(c.dir); trial.GetGeneration() != 1 || trial.GetRestarts() != 0 || len(after) != 2 || after[0].pid != engines[0].pid || after[1].pid != engines[1].pid {
		t.Errorf("generation %d, %d restarts; engines %v, then %v", trial.GetGeneration(), trial.GetRestarts(), engines, after)
	}
	c.run(0, "cancel", id, "-y")
	c.completed(c.submit(c.spec("short", longMLP("short", 20))), time.Minute)
}

// keys are the CA, the node's certificate and the gossip key of all nodes, by file.
func (c *cluster) keys() map[string][]byte {
	c.t.Helper()
	all := map[string][]byte{}
	for _, name := range []string{"coordinator-1", "worker-1", "worker-2"} {
		for _, file := range []string{"ca.pem", "node.pem", "gossip.key"} {
			path := filepath.Join(c.dir, name, "pki", file)
			content, err := os.ReadFile(path)
			if err != nil {
				c.t.Fatal(err)
			}
			all[path] = content
		}
	}
	return all
}
