package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

const secret = "tdm_secret"

// fake is a coordinator of which each test says what it answers.
type fake struct {
	tandemv1connect.UnimplementedJobServiceHandler
	tandemv1connect.UnimplementedArtifactServiceHandler
	tandemv1connect.UnimplementedDatasetServiceHandler
	tandemv1connect.UnimplementedTokenServiceHandler
	tandemv1connect.UnimplementedModelServiceHandler
	tandemv1connect.UnimplementedDeploymentServiceHandler
	tandemv1connect.UnimplementedCheckpointServiceHandler
	tandemv1connect.UnimplementedMetricServiceHandler
	tandemv1connect.UnimplementedNodeServiceHandler
	tandemv1connect.UnimplementedSweepServiceHandler
	fakeSweep

	submit     func(*tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error)
	get        func(id string) (*tandemv1.GetJobResponse, error)
	watch      func(ctx context.Context, id string, send func(*tandemv1.WatchJobResponse) error) error
	logs       func(send func(*tandemv1.StreamLogsResponse) error) error
	rest       http.HandlerFunc
	mu         sync.Mutex
	jobs       []*tandemv1.Job
	intents    []*tandemv1.SetJobIntentRequest
	cordons    []*tandemv1.CordonNodeRequest
	files      map[string][]byte                    // by name, or hash
	fetch      func(name string) error              // before a file is downloaded
	ckpt       func() (*tandemv1.Checkpoint, error) // whichever is asked for; nil: it is there
	prunes     []*tandemv1.PruneJobsRequest
	deletes    []string // request ids
	pruned     int      // calls that were not dry runs
	created    *tandemv1.CreateDatasetRequest
	tokens     []*tandemv1.CreateTokenRequest
	version    *tandemv1.Version      // of any model
	manifest   func() (string, error) // of any dataset
	target     string                 // by which it was found
	lose       int                    // so many uploads are lost with their coordinator
	named      func() string          // what it says of all coordinators
	metrics    *tandemv1.GetMetricsResponse
	trace      *tandemv1.GetTraceResponse
	down       bool         // tokens are made, but nobody hears of it
	leaderless bool         // no tokens are made, and that is said
	cut        func() error // how a call for a token ends; nil: it is made
	rotation   *fakeRotation
}

func (f *fake) SubmitJob(_ context.Context, r *connect.Request[tandemv1.SubmitJobRequest]) (*connect.Response[tandemv1.SubmitJobResponse], error) {
	res, err := f.submit(r.Msg)
	return connect.NewResponse(res), err
}

func (f *fake) GetJob(_ context.Context, r *connect.Request[tandemv1.GetJobRequest]) (*connect.Response[tandemv1.GetJobResponse], error) {
	if f.get == nil {
		return connect.NewResponse(&tandemv1.GetJobResponse{Job: &tandemv1.Job{Id: r.Msg.GetId()}}), nil
	}
	res, err := f.get(r.Msg.GetId())
	return connect.NewResponse(res), err
}

// ListJobs answers with at most 40 jobs at once: the token is the place of the next.
func (f *fake) ListJobs(_ context.Context, r *connect.Request[tandemv1.ListJobsRequest]) (*connect.Response[tandemv1.ListJobsResponse], error) {
	from, _ := strconv.Atoi(r.Msg.GetPageToken())
	rest := f.jobs[from:]
	n := min(len(rest), int(cmp.Or(r.Msg.GetLimit(), 100)), 40)
	res := &tandemv1.ListJobsResponse{Jobs: rest[:n]}
	if n < len(rest) {
		res.NextPageToken = strconv.Itoa(from + n)
	}
	return connect.NewResponse(res), nil
}

func (f *fake) SetJobIntent(_ context.Context, r *connect.Request[tandemv1.SetJobIntentRequest]) (*connect.Response[tandemv1.SetJobIntentResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intents = append(f.intents, r.Msg)
	return connect.NewResponse(&tandemv1.SetJobIntentResponse{Job: &tandemv1.Job{Id: r.Msg.GetId()}}), nil
}

func (f *fake) ScaleJob(_ context.Context, r *connect.Request[tandemv1.ScaleJobRequest]) (*connect.Response[tandemv1.ScaleJobResponse], error) {
	if r.Msg.GetRequestId() == "" || r.Msg.GetWorkers() > 4 {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("may have 1 to 4 workers"))
	}
	return connect.NewResponse(&tandemv1.ScaleJobResponse{Job: &tandemv1.Job{Id: r.Msg.GetId(), Name: "digits", Workers: r.Msg.GetWorkers()}}), nil
}

func (f *fake) CordonNode(_ context.Context, r *connect.Request[tandemv1.CordonNodeRequest]) (*connect.Response[tandemv1.CordonNodeResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cordons = append(f.cordons, r.Msg)
	return connect.NewResponse(&tandemv1.CordonNodeResponse{Node: &tandemv1.Node{
		Id: r.Msg.GetId(), Name: "a", State: tandemv1.NodeState_NODE_STATE_ALIVE, Cordoned: r.Msg.GetCordoned(), Draining: r.Msg.GetDrain(),
	}}), nil
}

func (f *fake) WatchJob(ctx context.Context, r *connect.Request[tandemv1.WatchJobRequest], s *connect.ServerStream[tandemv1.WatchJobResponse]) error {
	return f.watch(ctx, r.Msg.GetId(), s.Send)
}

func (f *fake) StreamLogs(_ context.Context, _ *connect.Request[tandemv1.StreamLogsRequest], s *connect.ServerStream[tandemv1.StreamLogsResponse]) error {
	return f.logs(s.Send)
}

func (f *fake) UploadArtifact(_ context.Context, s *connect.ClientStream[tandemv1.UploadArtifactRequest]) (*connect.Response[tandemv1.UploadArtifactResponse], error) {
	var header *tandemv1.UploadArtifactHeader
	var b bytes.Buffer
	for s.Receive() {
		if h := s.Msg().GetHeader(); h != nil {
			header = h
		}
		b.Write(s.Msg().GetChunk())
	}
	sum := sha256.Sum256(b.Bytes())
	if s.Err() != nil || header.GetSha256() != hex.EncodeToString(sum[:]) || header.GetSize() != int64(b.Len()) {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the bytes are not those of the header"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lose > 0 {
		f.lose--
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("going down"))
	}
	name := header.GetName()
	if name == "" {
		name = header.GetSha256()
	}
	f.files[name] = b.Bytes()
	return connect.NewResponse(&tandemv1.UploadArtifactResponse{Artifact: header.GetSha256()}), nil
}

func (f *fake) ListArtifacts(context.Context, *connect.Request[tandemv1.ListArtifactsRequest]) (*connect.Response[tandemv1.ListArtifactsResponse], error) {
	res := &tandemv1.ListArtifactsResponse{}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		res.Artifacts = append(res.Artifacts, &tandemv1.Artifact{Name: name, Bytes: int64(len(f.files[name]))})
	}
	return connect.NewResponse(res), nil
}

func (f *fake) DownloadArtifact(_ context.Context, r *connect.Request[tandemv1.DownloadArtifactRequest], s *connect.ServerStream[tandemv1.DownloadArtifactResponse]) error {
	if f.fetch != nil {
		if err := f.fetch(r.Msg.GetName()); err != nil {
			return err
		}
	}
	b, ok := f.files[r.Msg.GetName()]
	if !ok {
		return connect.NewError(connect.CodeNotFound, errors.New("file: not found"))
	}
	return s.Send(&tandemv1.DownloadArtifactResponse{Chunk: b})
}

func (f *fake) GetCheckpoint(context.Context, *connect.Request[tandemv1.GetCheckpointRequest]) (*connect.Response[tandemv1.GetCheckpointResponse], error) {
	k, err := &tandemv1.Checkpoint{Id: "ckpt-1234", JobId: "job-1"}, error(nil)
	if f.ckpt != nil {
		k, err = f.ckpt()
	}
	return connect.NewResponse(&tandemv1.GetCheckpointResponse{Checkpoint: k}), err
}

func (f *fake) PruneCheckpoints(_ context.Context, r *connect.Request[tandemv1.PruneCheckpointsRequest]) (*connect.Response[tandemv1.PruneCheckpointsResponse], error) {
	if !r.Msg.GetDryRun() {
		f.pruned++
	}
	return connect.NewResponse(&tandemv1.PruneCheckpointsResponse{Retention: []*tandemv1.Retention{
		{Checkpoint: &tandemv1.Checkpoint{Id: "ckpt-2"}, Keep: true, Reason: "the newest"},
		{Checkpoint: &tandemv1.Checkpoint{Id: "ckpt-1"}, Reason: "neither " + r.Msg.GetJobId()},
	}}), nil
}

func (f *fake) VerifyCheckpoint(_ context.Context, r *connect.Request[tandemv1.VerifyCheckpointRequest]) (*connect.Response[tandemv1.VerifyCheckpointResponse], error) {
	if r.Msg.GetId() != "ckpt-1234" {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("not the id"))
	}
	return connect.NewResponse(&tandemv1.VerifyCheckpointResponse{}), nil
}

func (f *fake) GetVersion(context.Context, *connect.Request[tandemv1.GetVersionRequest]) (*connect.Response[tandemv1.GetVersionResponse], error) {
	if f.version == nil {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("no such version"))
	}
	return connect.NewResponse(&tandemv1.GetVersionResponse{Version: f.version, Target: f.target}), nil
}

func (f *fake) GetMetrics(_ context.Context, r *connect.Request[tandemv1.GetMetricsRequest]) (*connect.Response[tandemv1.GetMetricsResponse], error) {
	res := proto.CloneOf(f.metrics)
	res.Series = slices.DeleteFunc(res.Series, func(s *tandemv1.Series) bool {
		return len(r.Msg.GetSeries()) > 0 && !slices.Contains(r.Msg.GetSeries(), s.GetName())
	})
	return connect.NewResponse(res), nil
}

func (f *fake) GetTrace(context.Context, *connect.Request[tandemv1.GetTraceRequest]) (*connect.Response[tandemv1.GetTraceResponse], error) {
	return connect.NewResponse(f.trace), nil
}

func (f *fake) BeginDataset(_ context.Context, r *connect.Request[tandemv1.BeginDatasetRequest]) (*connect.Response[tandemv1.BeginDatasetResponse], error) {
	if r.Msg.GetName() == "BAD" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("name: small letters"))
	}
	return connect.NewResponse(&tandemv1.BeginDatasetResponse{Id: "data-1"}), nil
}

func (f *fake) CreateDataset(_ context.Context, r *connect.Request[tandemv1.CreateDatasetRequest]) (*connect.Response[tandemv1.CreateDatasetResponse], error) {
	f.created = r.Msg
	return connect.NewResponse(&tandemv1.CreateDatasetResponse{Dataset: &tandemv1.Dataset{Id: r.Msg.GetId(), Name: r.Msg.GetName(), Version: 1}}), nil
}

func (f *fake) GetDataset(context.Context, *connect.Request[tandemv1.GetDatasetRequest]) (*connect.Response[tandemv1.GetDatasetResponse], error) {
	m, err := f.manifest()
	return connect.NewResponse(&tandemv1.GetDatasetResponse{ManifestJson: m}), err
}

func (f *fake) GetDeployment(context.Context, *connect.Request[tandemv1.GetDeploymentRequest]) (*connect.Response[tandemv1.GetDeploymentResponse], error) {
	return nil, connect.NewError(connect.CodeNotFound, errors.New("no such deployment"))
}

func (f *fake) CreateToken(_ context.Context, r *connect.Request[tandemv1.CreateTokenRequest]) (*connect.Response[tandemv1.CreateTokenResponse], error) {
	f.tokens = append(f.tokens, r.Msg)
	if f.down {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("going down"))
	}
	if f.cut != nil {
		return nil, f.cut()
	}
	if f.leaderless {
		err := connect.NewError(connect.CodeUnavailable, errors.New("the coordinators have no leader"))
		err.Meta().Set(identity.NothingProposed, "1")
		return nil, err
	}
	return connect.NewResponse(&tandemv1.CreateTokenResponse{Token: &tandemv1.Token{Name: r.Msg.GetName(), Role: r.Msg.GetRole()}, Secret: "tdm_new"}), nil
}

// authority signs the certificates of fake coordinators.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue makes the certificate of a coordinator.
func (ca *authority) issue(t *testing.T) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{identity.RoleName(identity.RoleCoordinator)}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ca.key}
}

// serve runs a fake coordinator over TLS and returns its address.
func (ca *authority) serve(t *testing.T, f *fake) string {
	t.Helper()
	own := ca.issue(t)
	f.files = map[string][]byte{}
	mux := http.NewServeMux()
	mux.Handle(tandemv1connect.NewJobServiceHandler(f))
	mux.Handle(tandemv1connect.NewArtifactServiceHandler(f))
	mux.Handle(tandemv1connect.NewDatasetServiceHandler(f))
	mux.Handle(tandemv1connect.NewTokenServiceHandler(f))
	mux.Handle(tandemv1connect.NewModelServiceHandler(f))
	mux.Handle(tandemv1connect.NewDeploymentServiceHandler(f))
	mux.Handle(tandemv1connect.NewCheckpointServiceHandler(f))
	mux.Handle(tandemv1connect.NewMetricServiceHandler(f))
	mux.Handle(tandemv1connect.NewNodeServiceHandler(f))
	mux.Handle(tandemv1connect.NewSweepServiceHandler(f))
	if f.rotation != nil {
		mux.Handle(tandemv1connect.NewClusterServiceHandler(f.rotation))
	}
	if f.rest != nil {
		mux.Handle("/v1/", f.rest)
		mux.Handle("/v2/", f.rest)
	}
	refuse := connect.NewErrorWriter()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			_ = refuse.Write(w, r, connect.NewError(connect.CodeUnauthenticated, errors.New("no valid token: ask an admin for one (\"tandem token create\")")))
			return
		}
		if f.named != nil {
			w.Header().Set(identity.CoordinatorsHeader, f.named())
		}
		mux.ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if f.rotation != nil && f.rotation.finished.Load() {
			return f.rotation.certificate, nil
		}
		return own, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// user is somebody at a command line.
type user struct {
	t        *testing.T
	dir      string
	env      map[string]string
	in       string
	patience client.Patience
	out, err strings.Builder
}

// newUser has a context for the endpoints.
func newUser(t *testing.T, ca string, endpoints ...string) *user {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "contexts.yaml")
	file, err := client.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	file.Put(client.Context{Name: "test", Endpoints: endpoints, CA: ca, Token: secret})
	if err := file.Save(); err != nil {
		t.Fatal(err)
	}
	return &user{
		t: t, dir: dir, env: map[string]string{"TANDEM_CONFIG": path},
		patience: client.Patience{Silent: 50 * time.Millisecond, Leading: 5 * time.Second, Pause: 10 * time.Millisecond},
	}
}

// run runs one command line and returns its exit code.
func (u *user) run(args ...string) int {
	return u.runContext(u.t.Context(), args...)
}

func (u *user) runContext(ctx context.Context, args ...string) int {
	u.out.Reset()
	u.err.Reset()
	a := &app{
		in: strings.NewReader(u.in), out: &u.out, err: &u.err, patience: u.patience,
		getenv: func(k string) string { return u.env[k] },
	}
	return a.execute(ctx, args)
}

// want checks an exit code and texts that must be in the output together.
func (u *user) want(code, wanted int, texts ...string) {
	u.t.Helper()
	all := u.out.String() + u.err.String()
	if code != wanted {
		u.t.Errorf("exit code %d, want %d; output:\n%s", code, wanted, all)
	}
	for _, text := range texts {
		if !strings.Contains(all, text) {
			u.t.Errorf("%q is not in the output:\n%s", text, all)
		}
	}
}
