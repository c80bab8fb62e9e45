package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem.dev/proto/identity"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func node(role identity.Role, id string) identity.Identity {
	return identity.Identity{Cluster: "cluster-a", Role: role, Node: id}
}

func issue(t *testing.T, ca *CA, who identity.Identity) *identity.Credentials {
	t.Helper()
	c, err := ca.Issue(who, []string{"db1.example", "10.0.0.7"}, make([]byte, 32), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := New("cluster-a", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// handshake returns the server's view of the client, or the first error of either side.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	s, c := tls.Server(a, server), tls.Client(b, client)
	failed := make(chan error, 1)
	go func() {
		err := c.Handshake()
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // in TLS 1.3 the server refuses a certificate after the client is done
		} else {
			_ = b.Close()
		}
		failed <- err
	}()
	err := s.Handshake()
	if err == nil {
		_, err = s.Write([]byte{1})
	}
	_ = a.Close()
	if cerr := <-failed; cerr != nil {
		err = cerr
	}
	return s.ConnectionState(), err
}

func TestHandshakeByRole(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	coordinator := issue(t, ca, node(identity.RoleCoordinator, "node-1"))
	worker := issue(t, ca, node(identity.RoleWorker, "node-2"))
	foreign := issue(t, other, node(identity.RoleCoordinator, "node-3"))
	for _, tc := range []struct {
		name           string
		server, client *tls.Config
		ok             bool
	}{
		{"worker dials coordinator", coordinator.ServerConfig(false), worker.ClientConfig(identity.RoleName(identity.RoleCoordinator)), true},
		{"coordinator dials one worker", worker.ServerConfig(false), coordinator.ClientConfig(identity.NodeName("node-2")), true},
		{"worker poses as coordinator", worker.ServerConfig(false), coordinator.ClientConfig(identity.RoleName(identity.RoleCoordinator)), false},
		{"another worker answers", worker.ServerConfig(false), coordinator.ClientConfig(identity.NodeName("node-9")), false},
		{"client of another CA", coordinator.ServerConfig(true), foreign.ClientConfig(identity.RoleName(identity.RoleCoordinator)), false},
		{"server of another CA", foreign.ServerConfig(true), worker.ClientConfig(identity.RoleName(identity.RoleCoordinator)), false},
		{"client without certificate", coordinator.ServerConfig(false), &tls.Config{RootCAs: coordinator.Pool(), ServerName: "localhost"}, false},
		{"client without certificate on the API", coordinator.ServerConfig(true), &tls.Config{RootCAs: coordinator.Pool(), ServerName: "10.0.0.7"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state, err := handshake(t, tc.server, tc.client)
			if (err == nil) != tc.ok {
				t.Fatalf("handshake: %v, want success %v", err, tc.ok)
			}
			if id, ok := identity.Peer(&state); tc.ok && len(tc.client.Certificates) > 0 && (!ok || id.Cluster != "cluster-a") {
				t.Errorf("peer is %v %v", id, ok)
			}
		})
	}
}

func TestCredentialsOnDisk(t *testing.T) {
	ca := newCA(t)
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := identity.Load(dir); err == nil {
		t.Fatal("credentials were found in no folder")
	}
	want := issue(t, ca, node(identity.RoleCoordinator, "node-1"))
	want.Peers = identity.Peers{Coordinators: []string{"h:1"}, Gossip: []string{"h:2"}}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := want.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Identity != want.Identity || got.Peers.Gossip[0] != "h:2" || !got.CA.Equal(ca.Certificate) {
		t.Errorf("loaded %+v", got)
	}
	if _, err := Load(dir, got.CA); err != nil {
		t.Error(err)
	}
	if _, err := Load(dir, newCA(t).Certificate); err == nil {
		t.Error("a key was loaded for another CA")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestStale(t *testing.T) {
	ca := newCA(t)
	der, err := ca.Sign(node(identity.RoleCoordinator, "node-1"), ca.key.Public(), []string{"a.example", "0.0.0.0", ""}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		hosts []string
		after time.Duration
		want  bool
	}{
		{[]string{"a.example"}, 0, false},
		{[]string{"a.example"}, -skew, false},
		{[]string{"a.example"}, -skew - time.Second, true}, // signed by a clock that was ahead
		{[]string{"a.example", "0.0.0.0"}, nodeLife / 2, false},
		{[]string{"b.example"}, 0, true},
		{[]string{"a.example"}, nodeLife*2/3 - skew, false},
		{[]string{"a.example"}, nodeLife * 2 / 3, true},
	} {
		if got := Stale(leaf, identity.RoleCoordinator, tc.hosts, now.Add(tc.after)); got != tc.want {
			t.Errorf("Stale(%v, +%v) = %v", tc.hosts, tc.after, got)
		}
	}
	// The same names in a worker's certificate are too many.
	if !Stale(leaf, identity.RoleWorker, nil, now) {
		t.Error("a worker keeps a certificate with the name of a host")
	}
}

// TestWorkerHasNoNameThatClientsDial: whatever is asked for, a worker's certificate carries its names in the cluster alone, and
// is no reason to sign it anew.
func TestWorkerHasNoNameThatClientsDial(t *testing.T) {
	ca := newCA(t)
	who := node(identity.RoleWorker, "node-2")
	leaf, err := issue(t, ca, who).Leaf()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(leaf.DNSNames, who.DNSNames()) || len(leaf.IPAddresses) != 0 {
		t.Errorf("names %v and addresses %v, want %v alone", leaf.DNSNames, leaf.IPAddresses, who.DNSNames())
	}
	if Stale(leaf, identity.RoleWorker, []string{"db1.example"}, time.Now()) {
		t.Error("a fresh certificate of a worker is stale")
	}
	for _, host := range []string{"localhost", "127.0.0.1", "db1.example", "10.0.0.7"} {
		client := &tls.Config{RootCAs: issue(t, ca, who).Pool(), ServerName: host}
		if _, err := handshake(t, issue(t, ca, who).ServerConfig(true), client); err == nil {
			t.Errorf("a client that dials %s takes a worker for it", host)
		}
	}
}
