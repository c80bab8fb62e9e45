package embedded

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem.dev/storage"
	"tandem.dev/storage/s3"
	"tandem.dev/storage/storetest"
)

func config(dir string) Config {
	return Config{Dir: dir, AccessKey: "tandem", SecretKey: "0123456789abcdef"}
}

// start runs a server until the test ends. There can be only one at a time.
func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		t.Fatal("the server ended:", err)
	}
	return s
}

func client(t *testing.T, c s3.Config) storage.Store {
	t.Helper()
	st, err := s3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return st
}

// eachMetadata runs a test with either place for metadata, in a new folder.
func eachMetadata(t *testing.T, test func(t *testing.T, c Config)) {
	for name, sidecar := range map[string]bool{"xattr": false, "sidecar": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if !sidecar && !hasXattr(dir) {
				t.Skip("the temporary folder has no extended attributes")
			}
			c := config(dir)
			c.Sidecar = sidecar
			test(t, c)
		})
	}
}

func TestConformance(t *testing.T) {
	eachMetadata(t, func(t *testing.T, c Config) {
		s := start(t, c)
		cc := s.ClientConfig()
		cc.PartSize, cc.ListPage = 5<<20, 3
		storetest.Run(t, storetest.Suite{
			New:      func(t *testing.T) storage.Store { return client(t, cc) },
			Large:    11 << 20,
			ListPage: 3,
		})
	})
}

// TestAnnouncedBody: a body that is not what was announced is not an object, and one that is goes in one request.
func TestAnnouncedBody(t *testing.T) {
	st := client(t, start(t, config(t.TempDir())).ClientConfig())
	body := strings.Repeat("123456789", 1<<20)
	sum, err := storage.CRC32C(strings.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	for key, c := range map[string]struct {
		body string
		ok   bool
	}{"whole": {body, true}, "other": {"0" + body[1:], false}, "fewer": {body[1:], false}} {
		err := st.Put(t.Context(), key, storage.Announced{Reader: strings.NewReader(c.body), CRC32C: sum}, int64(len(body)))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", key, err)
		}
		info, err := st.Head(t.Context(), key)
		if c.ok && (err != nil || info.Size != int64(len(body))) || !c.ok && !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %+v, %v", key, info, err)
		}
	}
}

func TestRestartKeepsObjects(t *testing.T) {
	dir := t.TempDir()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, sidecarLater := range []bool{false, true} {
		t.Run("", func(t *testing.T) {
			c := config(dir)
			c.Sidecar = sidecarLater
			st := client(t, start(t, c).ClientConfig())
			if err := st.PutIfAbsent(t.Context(), "a/b", []byte("kept")); err != nil {
				t.Fatal(err)
			}
			if b, err := storage.ReadAll(t.Context(), st, "a/b", 10); err != nil || string(b) != "kept" {
				t.Fatalf("%q, %v", b, err)
			}
		})
	}
	if now, err := os.Getwd(); err != nil || now != cwd {
		t.Errorf("the working directory was %s and is %s (%v)", cwd, now, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "buckets", "tandem", "a", "b")); err != nil || string(b) != "kept" {
		t.Errorf("the object is not a plain file: %q, %v", b, err)
	}
}

// Objects that were put when ETags were MD5s stay what they are.
func TestObjectsWithAnMD5AsETag(t *testing.T) {
	eachMetadata(t, func(t *testing.T, c Config) {
		s := start(t, c)
		st := client(t, s.ClientConfig())
		for _, key := range []string{"a/old", "a/new"} {
			if err := st.PutIfAbsent(t.Context(), key, []byte("kept")); err != nil {
				t.Fatal(err)
			}
		}
		const md5 = `"7ca0d5a2c8f0a5e8f8a2ad1ca6f1ea4c"`
		var err error
		if c.Sidecar {
			err = os.WriteFile(filepath.Join(c.Dir, "sidecar", "tandem", "a", "old", "meta", "etag"), []byte(md5), 0o600)
		} else {
			err = unix.Setxattr(filepath.Join(c.Dir, "buckets", "tandem", "a", "old"), "user.etag", []byte(md5), unix.XATTR_REPLACE)
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, err := storage.ReadAll(t.Context(), st, "a/old", 10); err != nil || string(b) != "kept" {
			t.Errorf("get: %q, %v", b, err)
		}
		if info, err := st.Head(t.Context(), "a/old"); err != nil || info.Size != 4 {
			t.Errorf("head: %+v, %v", info, err)
		}
		found := 0
		for info, err := range st.List(t.Context(), "a/") {
			if err != nil || info.Size != 4 {
				t.Errorf("list: %+v, %v", info, err)
			}
			found++
		}
		if found != 2 {
			t.Errorf("%d are listed", found)
		}
		if err := st.PutIfAbsent(t.Context(), "a/old", []byte("other")); !errors.Is(err, storage.ErrExists) {
			t.Errorf("commit over it: %v", err)
		}
	})
}

func TestRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"port":        {func(c *Config) { c.Listen = l.Addr().String() }, "in use by another program; choose another port"},
		"open":        {func(c *Config) { c.Listen = "0.0.0.0:0" }, "without a certificate only a loopback IP"},
		"any":         {func(c *Config) { c.Listen = ":0" }, "without a certificate only a loopback IP"},
		"secret":      {func(c *Config) { c.SecretKey = "short" }, "at least 16 bytes"},
		"certificate": {func(c *Config) { c.CertFile = "cert.pem" }, "both a certificate and its key"},
		"folder":      {func(c *Config) { c.Dir = file }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t.TempDir())
			c.change(&cfg)
			s, err := New(cfg)
			if err == nil {
				s.release()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	dir := t.TempDir()
	start(t, config(dir))
	if _, err := New(config(t.TempDir())); err == nil || !strings.Contains(err.Error(), "in this process already") {
		t.Errorf("a second server: %v", err)
	}
}
