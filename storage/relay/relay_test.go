package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/storetest"
)

// relayed serves what access says on a unix socket.
func relayed(t *testing.T, access Access) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: Handler(func(*http.Request) (Access, error) { return access, nil })}
	go func() { _ = server.Serve(l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return New(&http.Client{Transport: transport}, "http://agent")
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Suite{
		New:   func(t *testing.T) storage.Store { return relayed(t, Access{Store: memstore.New(memstore.Config{})}) },
		Large: 5 << 20, ListPage: 100,
	})
}

// TestAllowSeesWhatIsUsed: nothing reaches the store that was not allowed, by any method.
func TestAllowSeesWhatIsUsed(t *testing.T) {
	store := memstore.New(memstore.Config{})
	for _, key := range []string{"mine/a", "theirs/a"} {
		if err := store.Put(t.Context(), key, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var asked []string
	c := relayed(t, Access{Store: store, Allow: func(op Op, key string) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, string(op)+" "+key)
		if strings.HasPrefix(key, "mine/") {
			return nil
		}
		return errors.New("it is another's")
	}})
	ctx := t.Context()
	for _, prefix := range []string{"mine/", "theirs/"} {
		key, want := prefix+"a", prefix == "mine/"
		_, _, getErr := c.Get(ctx, key)
		_, rangeErr := c.GetRange(ctx, key, 0, 1)
		_, headErr := c.Head(ctx, key)
		var listErr error
		for _, listErr = range c.List(ctx, prefix) {
		}
		for what, err := range map[string]error{
			"get": getErr, "range": rangeErr, "head": headErr, "list": listErr,
			"put": c.Put(ctx, key+"2", strings.NewReader("y"), 1), "commit": c.PutIfAbsent(ctx, key+"3", []byte("y")), "delete": c.Delete(ctx, key+"2"),
		} {
			if (err == nil) != want || err != nil && !errors.Is(err, storage.ErrDenied) {
				t.Errorf("%s %s: %v", what, key, err)
			}
		}
	}
	if diff := cmp.Diff([]string{"mine/a", "mine/a3", "theirs/a"}, store.Keys()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"get theirs/a", "put theirs/a2", "put theirs/a3", "delete theirs/a2", "list theirs/"} {
		if !slices.Contains(asked, want) {
			t.Errorf("%q was not asked: %q", want, asked)
		}
	}
}

// TestStoresErrorsArrive: the engine that waits for a store has to know that it does.
func TestStoresErrorsArrive(t *testing.T) {
	for _, want := range []error{storage.ErrUnavailable, storage.ErrDenied, storage.ErrFull} {
		c := relayed(t, Access{Store: memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault { return memstore.Fault{Err: want} }})})
		_, headErr := c.Head(t.Context(), "a")
		for what, err := range map[string]error{"put": c.Put(t.Context(), "a", strings.NewReader("x"), 1), "head": headErr, "delete": c.Delete(t.Context(), "a")} {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
	}
}

// TestAgentGone: an agent that is gone is a store that is unavailable.
func TestAgentGone(t *testing.T) {
	c := New(&http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }}}, "http://agent")
	if _, err := c.Head(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Error(err)
	}
}
