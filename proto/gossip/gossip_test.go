package gossip

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
)

func start(t *testing.T, id string, role identity.Role, key []byte, seeds ...string) (*Gossip, func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.NodeID, cfg.Role, cfg.Address, cfg.Keys, cfg.Rejoin = id, role, id+":1", [][]byte{key}, 100*time.Millisecond
	g, err := New(cfg, Deps{Seeds: func() []string { return seeds }, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return g, stop
}

// await waits until the members of g are ids.
func await(t *testing.T, g *Gossip, ids ...string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := g.Changed()
		var got []string
		for _, m := range g.Members() {
			got = append(got, m.ID)
		}
		if cmp.Equal(got, ids) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("members are %v, want %v", got, ids)
		}
	}
}

func TestRing(t *testing.T) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	a, _ := start(t, "a", identity.RoleCoordinator, key)
	b, _ := start(t, "b", identity.RoleWorker, key, a.Addr())
	_, stopC := start(t, "c", identity.RoleWorker, key, a.Addr())
	await(t, a, "a", "b", "c")
	await(t, b, "a", "b", "c")
	want := Member{ID: "b", Role: identity.RoleWorker, Address: "b:1", Gossip: b.Addr()}
	if got := a.Members()[1]; got != want {
		t.Errorf("a knows %+v, want %+v", got, want)
	}
	stopC()
	await(t, a, "a", "b")
}

func TestAnotherKeyStaysOut(t *testing.T) {
	key, other := make([]byte, 32), make([]byte, 32)
	other[0] = 1
	a, _ := start(t, "a", identity.RoleCoordinator, key)
	b, _ := start(t, "b", identity.RoleWorker, other)
	if _, err := b.list.Join([]string{a.Addr()}); err == nil {
		t.Error("a node with another key was let in")
	}
	await(t, a, "a")
}

func TestBadConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"key":    func(c *Config) { c.Keys[0] = c.Keys[0][:16] },
		"listen": func(c *Config) { c.Listen = "127.0.0.1:x" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Keys = [][]byte{make([]byte, 32)}
			change(&cfg)
			if g, err := New(cfg, Deps{Log: zerolog.Nop()}); err == nil {
				_ = g.list.Shutdown()
				t.Error("was accepted")
			}
		})
	}
}

func FuzzParseMeta(f *testing.F) {
	f.Add([]byte(`{"role":"worker","address":"10.0.0.1:7080"}`))
	f.Add([]byte(`{"role":"admin","address":"10.0.0.1:7080"}`))
	f.Add([]byte(`{"role":"worker","address":7}`))
	f.Add([]byte(`{"role":"coord`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMeta(b)
		if !ok {
			return
		}
		if !m.Role.Valid() {
			t.Errorf("%q is of role %q", b, m.Role)
		}
		said, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := parseMeta(said); !ok || again != m {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}
