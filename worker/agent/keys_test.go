package agent

import (
	"bytes"
	"crypto/tls"
	"path/filepath"
	"testing"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestKeysAreTaken: when a session says that the keys have changed, the agent takes them and a new certificate, says so, and goes on in
// the same session; new connections to it get the new certificate.
func TestKeysAreTaken(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	a := c.start(dir)
	c.await("the first questions", func() bool { return c.opened == 1 && len(c.renewals) >= 2 })
	before, err := identity.Load(filepath.Join(dir, "pki"))
	must(t, err)
	key := bytes.Repeat([]byte{7}, 32)
	c.change(func() {
		c.keys = &tandemv1.Keys{Version: 2, Authorities: [][]byte{c.ca.Raw}, GossipKeys: [][]byte{key, make([]byte, 32)}}
		c.resign = true
	})
	c.await("the word that the new keys are held", func() bool {
		last := c.renewals[len(c.renewals)-1]
		return last.GetVersion() == 2 && !bytes.Equal(last.GetCertificate(), before.Chain[0])
	})
	after, err := identity.Load(filepath.Join(dir, "pki"))
	must(t, err)
	if bytes.Equal(after.Chain[0], before.Chain[0]) || !bytes.Equal(after.GossipKey, key) || after.Identity != before.Identity {
		t.Errorf("on the disk: gossip key %x, identity %v", after.GossipKey, after.Identity)
	}
	conn, err := tls.Dial("tcp", a.Address(t.Context()), c.creds.ClientConfig(identity.NodeName("node-1")))
	must(t, err)
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, after.Chain[0]) {
		t.Error("a new connection gets the old certificate")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened != 1 || c.sessions != 1 {
		t.Errorf("%d sessions were opened, %d are", c.opened, c.sessions)
	}
}
