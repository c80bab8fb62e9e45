package coordinator

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

func TestIgnoredStorage(t *testing.T) {
	kept := &tandemv1.StorageConfig{Endpoint: "a:1", Bucket: "b", Region: "r", AccessKey: "k", SecretKey: "s"}
	for name, tc := range map[string]struct {
		given *tandemv1.StorageConfig
		want  []string
	}{
		"nothing":      {nil, nil},
		"defaults":     {&tandemv1.StorageConfig{Bucket: "tandem", Region: "us-east-1"}, nil},
		"the same":     {&tandemv1.StorageConfig{Endpoint: "a:1", Bucket: "b", Region: "r", AccessKey: "k", SecretKey: "s"}, nil},
		"another":      {&tandemv1.StorageConfig{Endpoint: "a:2", Bucket: "c", Tls: true}, []string{"endpoint", "bucket", "tls"}},
		"another keys": {&tandemv1.StorageConfig{Bucket: "tandem", AccessKey: "k", SecretKey: "t"}, []string{"secret key"}},
	} {
		if diff := cmp.Diff(tc.want, ignoredStorage(tc.given, kept)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestStorageIsFixed: a later start that names another store is told that this is ignored.
func TestStorageIsFixed(t *testing.T) {
	store := newStore()
	first := start(t, testConfig(filepath.Join(t.TempDir(), "c")), store)
	first.stop()
	cfg := first.cfg
	cfg.Storage = &tandemv1.StorageConfig{Endpoint: "elsewhere.test:1", Bucket: "b", SecretKey: "hidden"}
	var log bytes.Buffer
	c, err := New(cfg, Deps{
		Log:       zerolog.New(zerolog.SyncWriter(&log)),
		OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) { return store, nil },
		Fatal:     func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	select {
	case <-c.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := log.String(); !strings.Contains(s, `"ignored":["endpoint","secret key"],"endpoint":"store.test:1"`) || strings.Contains(s, "hidden") {
		t.Errorf("the log does not say what is ignored:\n%s", s)
	}
}
