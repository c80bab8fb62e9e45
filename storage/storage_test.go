package storage_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

// forgetful breaks one promise of a store.
type forgetful struct {
	storage.Store
	overwrite, stale, unlisted, undeleted bool
}

func (f forgetful) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	if f.stale {
		return nil
	}
	err := f.Store.PutIfAbsent(ctx, key, b)
	if f.overwrite && errors.Is(err, storage.ErrExists) {
		return f.Put(ctx, key, strings.NewReader(string(b)), int64(len(b)))
	}
	return err
}

func (f forgetful) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	if f.unlisted {
		return func(func(storage.Info, error) bool) {}
	}
	return f.Store.List(ctx, prefix)
}

func (f forgetful) Delete(ctx context.Context, key string) error {
	if f.undeleted {
		return nil
	}
	return f.Store.Delete(ctx, key)
}

func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		f    forgetful
		want string
	}{
		"good":      {forgetful{}, ""},
		"overwrite": {forgetful{overwrite: true}, "If-None-Match"},
		"stale":     {forgetful{stale: true}, "If-None-Match"},
		"unlisted":  {forgetful{unlisted: true}, "listed 0 times"},
		"undeleted": {forgetful{undeleted: true}, "deleted object"},
	} {
		m := memstore.New(memstore.Config{})
		c.f.Store = m
		err := storage.Probe(t.Context(), c.f)
		if c.want == "" && (err != nil || len(m.Keys()) != 0) {
			t.Errorf("%s: %v, left %v", name, err, m.Keys())
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whichever operation fails, the probe says so and keeps the cause.
func TestProbeFaults(t *testing.T) {
	good := memstore.New(memstore.Config{})
	if err := storage.Probe(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < good.Ops(); n++ { // the last one cleans up, and may fail
		s := memstore.New(memstore.Config{Hook: memstore.FailNth(n, storage.ErrDenied)})
		if err := storage.Probe(t.Context(), s); !errors.Is(err, storage.ErrDenied) || !strings.Contains(err.Error(), "storage probe: ") {
			t.Errorf("operation %d fails: %v", n, err)
		}
	}
}

func TestReadAllLimit(t *testing.T) {
	s := memstore.New(memstore.Config{})
	s.Overwrite("k", make([]byte, 10))
	if b, err := storage.ReadAll(t.Context(), s, "k", 10); err != nil || len(b) != 10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := storage.ReadAll(t.Context(), s, "k", 9); !errors.Is(err, storage.ErrSize) {
		t.Error(err)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, k := range []string{"a", "a/b", "", "/", "a//b", "..", "a/../b", ".a", "a/", "trials/t1/ckpt/000000000001-g1/manifest.json", "ä", "a b", strings.Repeat("a/", 256)} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if storage.CheckKey(key) != nil {
			return
		}
		if strings.Contains("/"+key+"/", "/../") || strings.Contains("/"+key+"/", "//") || strings.Contains(key, "\x00") {
			t.Errorf("%q is allowed", key)
		}
		for n := range len(key) {
			if p := key[:n]; storage.CheckPrefix(p) != nil {
				t.Errorf("%q is a key, but %q is not a prefix", key, p)
			}
		}
	})
}
