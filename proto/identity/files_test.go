package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made returns credentials whose node is its own CA.
func made(t testing.TB, who Identity) *Credentials {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{who.URI()}, IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Credentials{
		Identity: who, CA: ca, Chain: [][]byte{der, der}, Key: key, GossipKey: make([]byte, 32),
		Peers: Peers{Coordinators: []string{"10.0.0.1:7070"}, Gossip: []string{"10.0.0.1:7071"}},
	}
}

// files are those of a pki folder in the order that write takes.
var files = [5]string{FileNode, FileKey, FileCA, FileGossip, FilePeers}

func read(t testing.TB, dir string) (all [5][]byte) {
	t.Helper()
	for i, name := range files {
		var err error
		if all[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := Load(dir); !errors.Is(err, ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
	want := made(t, Identity{Cluster: "cluster-a", Role: RoleWorker, Node: "node-1"})
	if err := want.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Identity != want.Identity || !got.CA.Equal(want.CA) || !cmp.Equal(got.Chain, want.Chain) || !cmp.Equal(got.Peers, want.Peers) || !bytes.Equal(got.GossipKey, want.GossipKey) {
		t.Errorf("got %+v", got)
	}
	for _, name := range files[1:] {
		if err := want.Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("a torn %s gave %v", name, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	good := made(f, Identity{Cluster: "cluster-a", Role: RoleCoordinator, Node: "node-1"})
	if err := good.Save(dir); err != nil {
		f.Fatal(err)
	}
	b := read(f, dir)
	f.Add(b[0], b[1], b[2], b[3], b[4])
	f.Add(b[0], b[1], b[2], b[3][:10], b[4])
	f.Add(b[0], b[1], b[2], b[3], []byte("{"))
	f.Add(b[0], b[1], b[1], b[3], b[4])
	f.Add(b[0][:20], b[1], b[2], b[3], b[4])
	f.Add([]byte{}, []byte{}, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, node, key, ca, gossip, peers []byte) {
		dir := t.TempDir()
		for i, data := range [][]byte{node, key, ca, gossip, peers} {
			if err := os.WriteFile(filepath.Join(dir, files[i]), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(dir)
		if err != nil {
			return
		}
		if err := c.Save(dir); err != nil {
			t.Fatal(err)
		}
		if again, err := Load(dir); err != nil || again.Identity != c.Identity || len(again.GossipKey) != 32 {
			t.Errorf("what was read cannot be written and read again: %+v, %v", again, err)
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	good := made(f, Identity{Cluster: "cluster-a", Role: RoleWorker, Node: "node-1"}).CAPEM()
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(bytes.ReplaceAll(good, []byte("CERTIFICATE"), []byte("PRIVATE KEY")))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		cert, err := ParsePEM(b)
		if (err == nil) != (cert != nil) {
			t.Errorf("certificate %v with error %v", cert, err)
		}
		if bytes.Equal(b, good) && err != nil {
			t.Errorf("a good certificate was refused: %v", err)
		}
	})
}
