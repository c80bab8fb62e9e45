package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/storetest"
)

// relayed serves what access says on a unix socket.
func relayed(t testing.TB, access Access) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: Handler(func(*http.Request) (Access, error) { return access, nil })}
	go func() { _ = server.Serve(l) }()
	c := New(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	})
	t.Cleanup(func() {
		c.Close()
		_ = server.Close()
	})
	return c
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

// TestBodyIsTriedAgain: what the store did not take goes again from its beginning, a few times.
func TestBodyIsTriedAgain(t *testing.T) {
	var fails atomic.Int64
	store := memstore.New(memstore.Config{Hook: func(_ context.Context, op memstore.Op) memstore.Fault {
		if op.Kind == memstore.OpPut && fails.Add(-1) >= 0 {
			return memstore.Fault{Err: storage.ErrUnavailable}
		}
		return memstore.Fault{}
	}})
	c := relayed(t, Access{Store: store})
	body := strings.NewReader("before" + strings.Repeat("x", 1<<20))
	for failures, want := range []error{nil, nil, nil, storage.ErrUnavailable} {
		if _, err := body.Seek(6, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		fails.Store(int64(failures))
		key := fmt.Sprintf("a/%d", failures)
		if err := c.Put(t.Context(), key, body, 1<<20); !errors.Is(err, want) {
			t.Errorf("after %d failures: %v, want %v", failures, err, want)
		}
		if b, err := store.Bytes(key); want == nil && (err != nil || string(b) != strings.Repeat("x", 1<<20)) {
			t.Errorf("after %d failures %d bytes are there, %v", failures, len(b), err)
		}
	}
}

// TestBodiesAreAnnounced: the store gets the checksum of a body with it, and a body without one is refused.
func TestBodiesAreAnnounced(t *testing.T) {
	store := &announced{Store: memstore.New(memstore.Config{})}
	c := relayed(t, Access{Store: store})
	for _, body := range []io.Reader{
		strings.NewReader("123456789"), io.NewSectionReader(strings.NewReader("0123456789"), 1, 9),
		iotest.OneByteReader(strings.NewReader("123456789")),
		storage.Announced{Reader: strings.NewReader("123456789"), CRC32C: 0xe3069283},
	} {
		store.sum = 0
		if err := c.Put(t.Context(), "a", body, 9); err != nil || store.sum != 0xe3069283 { // the check value of CRC-32C
			t.Errorf("%T: %v, checksum %x", body, err, store.sum)
		}
	}
	err := c.simple(t.Context(), http.MethodPut, "b", []byte("x"), nil)
	if err == nil || !strings.Contains(err.Error(), "checksum of b is not given") {
		t.Errorf("without a checksum: %v", err)
	}
}

// announced notes the checksum of the last body.
type announced struct {
	storage.Store
	sum uint32
}

func (s *announced) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	s.sum = r.(storage.Announced).CRC32C
	return s.Store.Put(ctx, key, r, size)
}

// TestRefusalIsHeard: who is still sending a large body learns why it is not wanted.
func TestRefusalIsHeard(t *testing.T) {
	c := relayed(t, Access{Store: memstore.New(memstore.Config{}), Allow: func(Op, string) error { return errors.New("not yours") }})
	for range 20 {
		if err := c.Put(t.Context(), "a", strings.NewReader(strings.Repeat("x", 4<<20)), 4<<20); !errors.Is(err, storage.ErrDenied) {
			t.Fatal(err)
		}
	}
}

// TestAgentGone: an agent that is gone is a store that is unavailable.
func TestAgentGone(t *testing.T) {
	c := New(func(context.Context) (net.Conn, error) { return nil, errors.New("refused") })
	if _, err := c.Head(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Error(err)
	}
}
