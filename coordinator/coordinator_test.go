package coordinator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

// running is a coordinator under test.
type running struct {
	*Coordinator
	cfg   Config
	store storage.Store
	stop  func()
	done  chan error // what Run returned
}

// awaitEnd waits until the coordinator has ended by itself, with an error that says want.
func (r *running) awaitEnd(t *testing.T, want string) {
	t.Helper()
	select {
	case err := <-r.done:
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the coordinator ended with %v, want %q", err, want)
		}
		r.done <- nil // for stop
	case <-time.After(30 * time.Second):
		t.Fatal("the coordinator runs on for 30 s")
	}
}

func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.GossipListen = dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.Storage = &tandemv1.StorageConfig{Endpoint: "store.test:1", Bucket: "b"}
	cfg.Heartbeat = 100 * time.Millisecond
	return cfg
}

// start runs a coordinator on loopback until it is ready.
func start(t *testing.T, cfg Config, store storage.Store) *running {
	t.Helper()
	r := startWith(t, cfg, func(*tandemv1.StorageConfig) (storage.Store, error) { return store, nil })
	r.store = store
	return r
}

// startWith runs one whose stores open opens.
func startWith(t *testing.T, cfg Config, open func(*tandemv1.StorageConfig) (storage.Store, error)) *running {
	t.Helper()
	r := &running{cfg: cfg}
	var err error
	r.Coordinator, err = New(cfg, Deps{
		Log:       zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
		OpenStore: open,
		Fatal:     func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r.done = done
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("coordinator ended: %v", err)
		}
		done <- nil
	}
	t.Cleanup(r.stop)
	select {
	case <-r.Ready():
	case err := <-done:
		t.Fatalf("coordinator ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("coordinator is not ready after 30 s")
	}
	return r
}

func startOne(t *testing.T) *running {
	t.Helper()
	return start(t, testConfig(filepath.Join(t.TempDir(), "c")), newStore())
}

// client is an HTTP client that trusts the cluster and has a token.
func (r *running) client(token string) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CAPEM())
	transport := identity.Transport(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	return &http.Client{Transport: withToken{transport, token}}
}

type withToken struct {
	base  *http.Transport
	token string
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	return w.base.RoundTrip(r)
}

func (w withToken) CloseIdleConnections() { w.base.CloseIdleConnections() }

func (r *running) url() string { return "https://" + r.Address() }

func (r *running) admin(t *testing.T) *http.Client {
	t.Helper()
	c := r.client(r.AdminToken())
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// mint makes a token; a join token is good for any number of nodes.
func (r *running) mint(t *testing.T, via *http.Client, name, role string, join bool) string {
	t.Helper()
	res, err := tandemv1connect.NewTokenServiceClient(via, r.url()).CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: name, Role: role, Join: join, Uses: map[bool]int32{true: -1}[join]}))
	if err != nil {
		t.Fatal(err)
	}
	return res.Msg.GetSecret()
}

// startThree starts a cluster of three coordinators.
func startThree(t *testing.T) (first *running, others []*running) {
	t.Helper()
	first = startOne(t)
	token := first.mint(t, first.admin(t), "join", "coordinator", true)
	for range 2 {
		cfg := testConfig(filepath.Join(t.TempDir(), "x"))
		if err := Join(t.Context(), cfg, token, []string{first.Address()}); err != nil {
			t.Fatal(err)
		}
		others = append(others, start(t, cfg, first.store))
	}
	return first, others
}

func TestFirstStartAndRestart(t *testing.T) {
	r := startOne(t)
	jobs := tandemv1connect.NewJobServiceClient(r.admin(t), r.url())
	if _, err := jobs.ListJobs(t.Context(), connect.NewRequest(&tandemv1.ListJobsRequest{})); err != nil {
		t.Fatal(err)
	}
	user := r.mint(t, r.admin(t), "ann", "user", false)
	cluster := r.creds.Identity.Cluster
	r.stop()
	again := start(t, r.cfg, r.store)
	if again.creds.Identity.Cluster != cluster || again.AdminToken() != r.AdminToken() {
		t.Error("the restart is another cluster")
	}
	c := again.client(user)
	t.Cleanup(c.CloseIdleConnections)
	if _, err := tandemv1connect.NewJobServiceClient(c, again.url()).ListJobs(t.Context(), connect.NewRequest(&tandemv1.ListJobsRequest{})); err != nil {
		t.Errorf("a token made before the restart: %v", err)
	}
}

func TestThreeCoordinators(t *testing.T) {
	store := newStore()
	first := start(t, testConfig(filepath.Join(t.TempDir(), "a")), store)
	token := first.mint(t, first.admin(t), "join", "coordinator", true)
	all := []*running{first}
	for range 2 {
		cfg := testConfig(filepath.Join(t.TempDir(), "x"))
		if err := Join(t.Context(), cfg, token, []string{first.Address()}); err != nil {
			t.Fatal(err)
		}
		all = append(all, start(t, cfg, store))
	}
	for i, r := range all {
		c := r.client(first.AdminToken())
		t.Cleanup(c.CloseIdleConnections)
		// A write on every one of them, read on the next at once.
		secret := r.mint(t, c, "t"+string(rune('0'+i)), "viewer", false)
		next := all[(i+1)%3]
		v := next.client(secret)
		t.Cleanup(v.CloseIdleConnections)
		res, err := tandemv1connect.NewClusterServiceClient(v, next.url()).GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Msg.GetPeers()) != 3 {
			t.Errorf("coordinator %d knows %d peers", i, len(res.Msg.GetPeers()))
		}
		named := strings.Split(res.Header().Get(identity.CoordinatorsHeader), ",")
		slices.Sort(named)
		want := []string{all[0].Address(), all[1].Address(), all[2].Address()}
		slices.Sort(want)
		if !slices.Equal(named, want) {
			t.Errorf("coordinator %d names %v, want %v", i, named, want)
		}
	}
	if err := Join(t.Context(), all[1].cfg, token, []string{first.Address()}); err == nil {
		t.Error("a folder joined twice")
	}
	// An agent speaks to one follower, a user watches at the other: progress flows on while the leader leaves.
	makeDataset(t, first, first.admin(t))
	a := newAgent(t, first)
	a.api = tandemv1connect.NewAgentServiceClient(a.http, all[1].url())
	session := a.session(t.Context(), a.node(2))
	c := all[2].client(first.AdminToken())
	t.Cleanup(c.CloseIdleConnections)
	jobs := tandemv1connect.NewJobServiceClient(c, all[2].url())
	job, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()}))
	if err != nil {
		t.Fatal(err)
	}
	watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: job.Msg.GetJob().GetId()}))
	if err != nil {
		t.Fatal(err)
	}
	task := a.await(session, 2)[0]
	progress := func(step int64) {
		t.Helper()
		if _, err := a.api.ReportProgress(t.Context(), connect.NewRequest(&tandemv1.ReportProgressRequest{Progress: []*tandemv1.Progress{
			{TrialId: task.GetTrain().GetTrialId(), Generation: task.GetGeneration(), Step: step, Time: timestamppb.Now()},
		}})); err != nil {
			t.Fatal(err)
		}
		awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool {
			return len(w.GetProgress()) == 1 && w.GetProgress()[0].GetStep() == step
		})
	}
	progress(1)
	first.stop()
	progress(2)
	all[2].mint(t, c, "after", "user", false)
	progress(3)
}

func newStore() *memstore.Store { return memstore.New(memstore.Config{Now: time.Now}) }
