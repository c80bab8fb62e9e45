package embedded

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"

	"tandem.dev/storage"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string, certPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, b := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, certPEM
}

func TestTLSAndCredentials(t *testing.T) {
	c := config(t.TempDir())
	var ca []byte
	c.CertFile, c.KeyFile, ca = certificate(t)
	s := start(t, c)
	cc := s.ClientConfig()
	cc.CAPEM, cc.Tries = string(ca), 1
	if !cc.TLS {
		t.Error("the client is not told to use TLS")
	}
	if err := storage.Probe(t.Context(), client(t, cc)); err != nil {
		t.Error(err)
	}
	bad := cc
	bad.SecretKey = "not the secret key"
	if _, err := client(t, bad).Head(t.Context(), "k"); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("a wrong secret key: %v", err)
	}
	bad = cc
	bad.AccessKey = "nobody"
	if err := client(t, bad).PutIfAbsent(t.Context(), "k", nil); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("a wrong access key: %v", err)
	}
	if _, err := client(t, bad).Head(t.Context(), "k"); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("a wrong access key, no body: %v", err)
	}
	bad = cc
	bad.CAPEM = ""
	if _, err := client(t, bad).Head(t.Context(), "k"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a certificate of an unknown CA: %v", err)
	}
	resp, err := http.Get("http://" + s.Endpoint() + "/tandem/k")
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("plain http is answered with %s", resp.Status)
		}
	}
}

// severed stands between a client and a server and breaks off what the client says after this many bytes.
func severed(t *testing.T, server string, after int64) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer client.Close()
				conn, err := net.Dial("tcp", server)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.CopyN(conn, client, after)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn) // until the server is done with it
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().String()
}

// Metadata beside an object is not written together with it: what a kill in the middle of a put or of a deletion leaves.
func TestObjectDecidesWhetherItIsThere(t *testing.T) {
	c := config(t.TempDir())
	c.Sidecar = true
	st := client(t, start(t, c).ClientConfig())
	put := func(key, text string) error { return st.PutIfAbsent(t.Context(), key, []byte(text)) }
	for _, key := range []string{"a/metadata-only", "a/object-only"} {
		if err := put(key, "first"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(c.Dir, "buckets", "tandem", "a", "metadata-only")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.Dir, "sidecar", "tandem", "a", "object-only", "meta")); err != nil {
		t.Fatal(err)
	}
	if err := put("a/metadata-only", "second"); err != nil {
		t.Errorf("commit where only metadata is left: %v", err)
	}
	if err := put("a/object-only", "second"); !errors.Is(err, storage.ErrExists) {
		t.Errorf("commit over an object without metadata: %v", err)
	}
	for key, want := range map[string]string{"a/metadata-only": "second", "a/object-only": "first"} {
		if b, err := storage.ReadAll(t.Context(), st, key, 10); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", key, b, err, want)
		}
	}
}

// What a writer sent before it was lost is not an object, however it was sent.
func TestWriterIsLostInTheMiddle(t *testing.T) {
	s := start(t, config(t.TempDir()))
	st := client(t, s.ClientConfig())
	b := bytes.Repeat([]byte("x"), 3<<20)
	for name, put := range map[string]func(storage.Store) error{
		"stream": func(st storage.Store) error {
			return st.Put(t.Context(), "k", bytes.NewReader(b), int64(len(b)))
		},
		"section": func(st storage.Store) error {
			return st.Put(t.Context(), "k", io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), int64(len(b)))
		},
		"commit": func(st storage.Store) error { return st.PutIfAbsent(t.Context(), "k", b) },
	} {
		cc := s.ClientConfig()
		cc.Endpoint, cc.Tries = severed(t, s.Endpoint(), 1<<20), 1
		if err := put(client(t, cc)); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := st.Head(t.Context(), "k"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: it left %+v, %v", name, info, err)
		}
	}
}

// On a disk that is full a writer is told so, nothing half-written can be seen, and what
// was there stays. Its twin TestFullInProcess needs no rights.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("cannot mount a small tmpfs here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cc := start(t, config(dir)).ClientConfig()
	cc.PartSize = 5 << 20
	st := client(t, cc)
	if err := st.PutIfAbsent(t.Context(), "before", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{4 << 20, 12 << 20} { // in one request, and in parts
		b := bytes.Repeat([]byte("x"), n)
		err := st.Put(t.Context(), "large", bytes.NewReader(b), int64(n))
		if !errors.Is(err, storage.ErrFull) {
			t.Errorf("put %d bytes: %v", n, err)
		}
		if _, err := st.Head(t.Context(), "large"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("head after a failed put: %v", err)
		}
	}
	if b, err := storage.ReadAll(t.Context(), st, "before", 10); err != nil || string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
	if err := st.Put(t.Context(), "small", bytes.NewReader(make([]byte, 1000)), 1000); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

type fullBackend struct{ backend.BackendUnsupported }

func (fullBackend) PutObject(context.Context, s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	return s3response.PutObjectOutput{}, &os.PathError{Op: "write", Path: "object", Err: syscall.ENOSPC}
}

func TestFullInProcess(t *testing.T) {
	d := &durable{Backend: fullBackend{}}
	_, err := d.PutObject(t.Context(), s3response.PutObjectInput{})
	if want := s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice); !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}
