package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
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

// TestYears lets 14 years go by for a coordinator, a worker and a client that knows only the first CA. All look at their certificates
// each month, as they do while they run; in the sixth year another CA follows. Nobody is ever refused, and the CA outlives its ten years.
func TestYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t)
		seal, err := NewSeal(nil)
		if err != nil {
			t.Fatal(err)
		}
		change, err := Adopted(ca, make([]byte, 32), seal)
		if err != nil {
			t.Fatal(err)
		}
		cluster := &tandemv1.Cluster{Id: "cluster-a", Authorities: change.GetAuthorities(), GossipKeys: change.GetGossipKeys(), KeysVersion: 1}
		dir := t.TempDir()
		coordinator := identity.NewLive(filepath.Join(dir, "c"), issue(t, ca, node(identity.RoleCoordinator, "node-1")))
		worker := identity.NewLive(filepath.Join(dir, "w"), issue(t, ca, node(identity.RoleWorker, "node-2")))
		pem := coordinator.Get().CAPEM() // what a client has
		renewed := 0
		look := func(l *identity.Live) {
			t.Helper()
			keys, err := KeysOf(cluster, seal)
			if err != nil {
				t.Fatal(err)
			}
			signer := ca
			for _, a := range cluster.GetAuthorities() {
				if a.GetState() == tandemv1.KeyState_KEY_STATE_ACTIVE {
					if signer, err = OpenAuthority(a, seal); err != nil {
						t.Fatal(err)
					}
				}
			}
			creds := l.Get()
			leaf, err := creds.Leaf()
			if err != nil {
				t.Fatal(err)
			}
			certificate, err := signer.Renewed(creds.Identity, leaf, []string{"db1.example", "10.0.0.7"}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if certificate != nil {
				renewed++
			}
			next := *creds
			if _, err := next.Take(certificate, keys); err != nil {
				t.Fatal(err)
			}
			if err := l.Replace(&next); err != nil {
				t.Fatal(err)
			}
			if again, err := identity.Load(filepath.Join(dir, map[identity.Role]string{identity.RoleCoordinator: "c", identity.RoleWorker: "w"}[l.Identity.Role])); err == nil && !again.Same(&next) {
				t.Error("what is on the disk is not what is used")
			}
		}
		turn := func(from, to tandemv1.KeyState) {
			for _, a := range cluster.GetAuthorities() {
				if a.GetState() == from {
					a.State = to
				}
			}
		}
		begin := time.Now()
		for month := range 14 * 12 {
			switch month {
			case 66:
				next, err := WithNextAuthority(cluster, ca, seal, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				cluster.Authorities = next.GetAuthorities()
			case 68:
				turn(tandemv1.KeyState_KEY_STATE_ACTIVE, tandemv1.KeyState_KEY_STATE_FORMER)
				turn(tandemv1.KeyState_KEY_STATE_NEXT, tandemv1.KeyState_KEY_STATE_ACTIVE)
			case 80:
				pem = coordinator.Get().CAPEM() // the client has fetched it
				cluster.Authorities = WithoutFormer(cluster).GetAuthorities()
			}
			if month%2 == 0 { // the two do not look at the same time
				look(coordinator)
			}
			look(worker)
			if _, err := handshake(t, coordinator.ServerConfig(true), worker.ClientConfig(identity.RoleName(identity.RoleCoordinator))); err != nil {
				t.Fatalf("month %d: the worker dials: %v", month, err)
			}
			if _, err := handshake(t, worker.ServerConfig(true), coordinator.ClientConfig(identity.NodeName("node-2"))); err != nil {
				t.Fatalf("month %d: the coordinator dials: %v", month, err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(pem)
			if _, err := handshake(t, coordinator.ServerConfig(true), &tls.Config{RootCAs: pool, ServerName: "db1.example"}); err != nil {
				t.Fatalf("month %d: a client dials: %v", month, err)
			}
			time.Sleep(365 * 24 * time.Hour / 12) // virtual
		}
		if lived := time.Since(begin); lived < caLife || renewed < 8 {
			t.Errorf("%v and %d certificates are no proof", lived, renewed)
		}
	})
}

// TestSeal: a secret is opened as what it was sealed, with the same key, or not at all.
func TestSeal(t *testing.T) {
	dir := t.TempDir()
	ca := newCA(t)
	if _, err := LoadSeal(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was found in an empty folder: %v", err)
	}
	derived, err := DeriveSeal(dir, ca)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadSeal(dir)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := DeriveSeal(t.TempDir(), ca) // another coordinator of the time before
	if err != nil {
		t.Fatal(err)
	}
	sealed := derived.Close([]byte("secret"), "a")
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the secret can be read")
	}
	for name, s := range map[string]*Seal{"the same": derived, "after a restart": again, "another coordinator": elsewhere} {
		if got, err := s.Open(sealed, "a"); err != nil || string(got) != "secret" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	other, err := NewSeal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(sealed, "a"); err == nil {
		t.Error("another key opens it")
	}
	if _, err := derived.Open(sealed, "b"); err == nil {
		t.Error("it is opened as something else")
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
		{[]string{"a.example"}, -Backdated, false},
		{[]string{"a.example"}, -Backdated - time.Second, true}, // signed by a clock that was ahead
		{[]string{"a.example", "0.0.0.0"}, nodeLife / 2, false},
		{[]string{"b.example"}, 0, true},
		{[]string{"a.example"}, nodeLife*2/3 - Backdated, false},
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
