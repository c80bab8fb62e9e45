package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
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
	if s := log.String(); !strings.Contains(s, `"differs":["endpoint","secret key"],"endpoint":"store.test:1"`) || strings.Contains(s, "hidden") {
		t.Errorf("the log does not say what differs:\n%s", s)
	}
}

// TestStoreIsLookedAt: a store that stops serving while the cluster runs is noticed in seconds, whatever it does, and so is its return.
func TestStoreIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fault atomic.Pointer[error]
		hangs := errors.New("hangs")
		store := storage.Patient(memstore.New(memstore.Config{Hook: func(ctx context.Context, op memstore.Op) memstore.Fault {
			err := fault.Load()
			if err == nil || errors.Is(*err, storage.ErrFull) && op.Kind != memstore.OpPut {
				return memstore.Fault{}
			}
			if errors.Is(*err, hangs) {
				<-ctx.Done()
			}
			return memstore.Fault{Err: *err}
		}}))
		var why atomic.Pointer[storeSight]
		why.Store(&storeSight{at: time.Now()})
		var told atomic.Bool
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			lookOut{func() (storage.Store, error) { return store, nil }, &why, told.Load, zerolog.New(&log)}.run(ctx)
		}()
		is := func(when, want string) {
			t.Helper()
			said := "serves"
			if f := why.Load(); f.fault() != nil {
				said = f.String()
			}
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q, want %q", when, said, want)
			}
		}
		for _, c := range []struct {
			fault  error
			within time.Duration
			want   string
		}{
			{storage.ErrDenied, lookPause, "tandem store rotate"},
			{storage.ErrUnavailable, lookPause, "storage unavailable"},
			{hangs, lookPause + lookTime, "did not answer within 30s"},
			{storage.ErrFull, writePause + lookPause, "what they write waits: put probe/room: storage is full"},
		} {
			time.Sleep(time.Minute) // virtual
			synctest.Wait()
			is("before it says "+c.fault.Error(), "serves")
			fault.Store(&c.fault)
			time.Sleep(c.within)
			synctest.Wait()
			is("when it says "+c.fault.Error(), c.want)
			time.Sleep(time.Hour)
			fault.Store(nil)
			time.Sleep(probePause + lookTime)
			synctest.Wait()
			is("after it has said "+c.fault.Error(), "serves")
		}
		// That a store is full only a write tells: where the cluster knows that it is, each look writes.
		told.Store(true)
		fault.Store(&storage.ErrFull)
		time.Sleep(lookPause)
		synctest.Wait()
		is("when the cluster says that it is full", "storage is full")
		before := time.Now()
		time.Sleep(lookPause)
		synctest.Wait()
		if at := why.Load().at; at.Before(before) {
			t.Errorf("what was found is of %v, before %v", at, before)
		}
		cancel()
		<-done
		if n := strings.Count(log.String(), "\n"); n != 9 {
			t.Errorf("%d lines tell of four outages and their ends, and of the fifth:\n%s", n, log.String())
		}
	})
}

// TestFullStore: a coordinator whose store is full when it starts serves its API, says so there, in a metric and in one event, refuses
// what it would have to store with the reason, and goes on when there is room.
func TestFullStore(t *testing.T) {
	var freed atomic.Bool
	open := func(*tandemv1.StorageConfig) (storage.Store, error) {
		return memstore.New(memstore.Config{Hook: func(_ context.Context, op memstore.Op) memstore.Fault {
			if freed.Load() || op.Kind != memstore.OpPut && op.Kind != memstore.OpPutIfAbsent {
				return memstore.Fault{}
			}
			return memstore.Fault{Err: storage.ErrFull}
		}}), nil
	}
	c, err := New(testConfig(filepath.Join(t.TempDir(), "c")), Deps{OpenStore: open, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	r := &running{Coordinator: c}
	admin := r.client(c.AdminToken())
	t.Cleanup(admin.CloseIdleConnections)
	said := func(v *state.View) (all []string) {
		for _, e := range v.Events(0) {
			if e.GetType() == tandemv1.Event_TYPE_STORE_FAULT || e.GetType() == tandemv1.Event_TYPE_STORE_SERVES {
				all = append(all, say.Event(e, say.CLI))
			}
		}
		return all
	}
	awaitState(t, r, func(v *state.View) bool { return len(said(v)) == 1 })
	if status, body := do(t, admin, "GET", r.url()+"/readyz", ""); status != 200 || !strings.Contains(body, "storage is full") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if m := scrape(t, r, admin); m["tandem_store_full"] != "1" || m["tandem_store_serves"] != "0" {
		t.Errorf("metrics: full %s, serves %s", m["tandem_store_full"], m["tandem_store_serves"])
	}
	up := tandemv1connect.NewArtifactServiceClient(admin, r.url()).UploadArtifact(t.Context())
	body := []byte("x")
	sum := sha256.Sum256(body)
	header := &tandemv1.UploadArtifactHeader{Size: 1, Sha256: hex.EncodeToString(sum[:])}
	for _, part := range []*tandemv1.UploadArtifactRequest{
		{Part: &tandemv1.UploadArtifactRequest_Header{Header: header}}, {Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: body}},
	} {
		_ = up.Send(part) // the answer says what was wrong
	}
	_, err = up.CloseAndReceive()
	wantCode(t, err, connect.CodeResourceExhausted, "storage is full")
	if why := say.ReasonOf(err); why.GetCode() != tandemv1.Reason_CODE_STORE_FULL {
		t.Errorf("its reason is %v", why)
	}

	freed.Store(true)
	select {
	case <-c.Ready():
	case err := <-done:
		t.Fatalf("a full store ended the coordinator: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("it is not ready though there is room")
	}
	awaitState(t, r, func(v *state.View) bool { return len(said(v)) == 2 })
	all := said(r.state.View())
	if !strings.HasPrefix(all[0], "The store is full: ") || !strings.Contains(all[0], "what begins or ends waits") || all[1] != "The store serves again." {
		t.Errorf("events %q", all)
	}
	if m := scrape(t, r, admin); m["tandem_store_full"] != "0" || m["tandem_store_serves"] != "1" {
		t.Errorf("metrics: full %s, serves %s", m["tandem_store_full"], m["tandem_store_serves"])
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// locked are stores that let in who has the key of their time.
type locked struct {
	key atomic.Pointer[string]
}

func (l *locked) open(c *tandemv1.StorageConfig) (storage.Store, error) {
	if c.GetRegion() == "nowhere" {
		return nil, errors.New("region: not a region")
	}
	return memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault {
		if c.GetSecretKey() != *l.key.Load() {
			return memstore.Fault{Err: storage.ErrDenied}
		}
		return memstore.Fault{}
	}}), nil
}

// TestStoreKeysAreReplaced: the store's keys are changed while the cluster runs, when all coordinators can use the new ones; a cluster
// whose keys were taken away serves its API, says so, and takes over those that a start names. The secret is nowhere in the clear.
func TestStoreKeysAreReplaced(t *testing.T) {
	store := &locked{}
	is := func(key string) { store.key.Store(&key) }
	is("secret-one")
	cfg := testConfig(filepath.Join(t.TempDir(), "c"))
	cfg.Storage.AccessKey, cfg.Storage.SecretKey = "one", "secret-one"
	first := startWith(t, cfg, store.open)
	second := testConfig(filepath.Join(t.TempDir(), "x"))
	second.Storage = nil
	if err := Join(t.Context(), second, first.mint(t, first.admin(t), "join", "coordinator", true), []string{first.Address()}); err != nil {
		t.Fatal(err)
	}
	other := startWith(t, second, store.open)
	c := other.client(first.AdminToken())
	t.Cleanup(c.CloseIdleConnections)
	api := tandemv1connect.NewClusterServiceClient(c, other.url())
	set := func(access, secret string) error {
		_, err := api.SetStorage(t.Context(), connect.NewRequest(&tandemv1.SetStorageRequest{AccessKey: access, SecretKey: secret}))
		return err
	}
	wantCode(t, set("two", "secret-two"), connect.CodeFailedPrecondition, "nothing was changed")
	wantCode(t, set("two", ""), connect.CodeInvalidArgument, "give both")
	_, err := api.SetStorage(t.Context(), connect.NewRequest(&tandemv1.SetStorageRequest{Region: "nowhere"}))
	wantCode(t, err, connect.CodeInvalidArgument, "region: not a region")
	is("secret-two")
	if err := set("two", "secret-two"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*running{first, other} {
		awaitState(t, r, func(*state.View) bool {
			s, err := r.objects.get()
			return err == nil && storage.Probe(t.Context(), s) == nil
		})
	}
	kept, _ := first.state.View().Cluster()
	if text := kept.String(); strings.Contains(text, "secret-two") || kept.GetStorage().GetAccessKey() != "two" {
		t.Errorf("in the state: %s", text)
	}

	// The keys are taken away: who runs says so.
	is("secret-three")
	admin := first.admin(t)
	awaitState(t, first, func(*state.View) bool {
		status, body := do(t, admin, "GET", first.url()+"/readyz", "")
		return status == 200 && strings.Contains(body, "none can run") && strings.Contains(body, "tandem store rotate")
	})
	if n := scrape(t, first, admin)["tandem_store_serves"]; n != "0" {
		t.Errorf("tandem_store_serves is %q while the store denies", n)
	}
	file := &tandemv1.ListArtifactsRequest{Owner: "artifact/" + strings.Repeat("a", 64)}
	_, err = tandemv1connect.NewArtifactServiceClient(admin, first.url()).ListArtifacts(t.Context(), connect.NewRequest(file))
	wantCode(t, err, connect.CodeUnavailable, "tandem store rotate")

	// A start that does not know the new ones waits, and says for what.
	other.stop()
	second.Listen = other.Address() // of two, none can tell the other where it is now
	again, err := New(second, Deps{OpenStore: store.open, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- again.Run(ctx) }()
	r := &running{Coordinator: again}
	viewer := r.client(first.AdminToken())
	t.Cleanup(viewer.CloseIdleConnections)
	awaitState(t, r, func(*state.View) bool {
		status, body := do(t, viewer, "GET", r.url()+"/readyz", "")
		return status == 200 && strings.Contains(body, "ok, but jobs can be looked at, but none can run") && strings.Contains(body, "denied")
	})
	if status, body := do(t, viewer, "GET", r.url()+"/v1/jobs", ""); status != 200 {
		t.Errorf("jobs cannot be listed: %d %s", status, body)
	}
	// One that does has the cluster take them over.
	first.stop()
	cfg.Listen = first.Address()
	cfg.Storage.AccessKey, cfg.Storage.SecretKey = "three", "secret-three"
	healed := startWith(t, cfg, store.open)
	if kept, err := healed.keptStorage(); err != nil || kept.GetSecretKey() != "secret-three" || kept.GetAccessKey() != "three" {
		t.Errorf("the cluster reaches its store by %v, %v", kept, err)
	}
	select {
	case <-again.Ready():
	case <-time.After(30 * time.Second):
		t.Error("the other one still waits")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
