package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/coordinator/api"
	"tandem.dev/coordinator/board"
	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/pki"
	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

const adminSecret = "tdm_fuzz"

// world is what does not change between inputs: keys are slow to make.
type world struct {
	ca    *pki.CA
	self  *identity.Credentials
	node  *identity.Credentials // of the worker
	seal  *pki.Seal
	chain map[identity.Role][]*x509.Certificate
	calls []protoreflect.MethodDescriptor
}

const workerID = "node-0000000000000000000000000w"

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := pki.New("cluster-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	seal, err := pki.NewSeal(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ca: ca, seal: seal, chain: map[identity.Role][]*x509.Certificate{}}
	for role, id := range map[identity.Role]string{identity.RoleCoordinator: "coordinator-0", identity.RoleWorker: workerID} {
		creds, err := ca.Issue(identity.Identity{Cluster: "cluster-1", Role: role, Node: id}, nil, make([]byte, 32), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := creds.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		w.chain[role] = []*x509.Certificate{leaf, ca.Certificate}
		if role == identity.RoleCoordinator {
			w.self = creds
		} else {
			w.node = creds
		}
	}
	for _, s := range schema.Services() {
		for i := range s.Methods().Len() {
			if m := s.Methods().Get(i); schema.Access(schema.Procedure(m)) != tandemv1.Access_ACCESS_ENGINE {
				w.calls = append(w.calls, m)
			}
		}
	}
	return w
}

// request is a call of a procedure by whoever may make it.
func (w *world) request(ctx context.Context, m protoreflect.MethodDescriptor, asJSON bool, body []byte) *http.Request {
	stream := m.IsStreamingClient() || m.IsStreamingServer()
	kind := "application/"
	if stream {
		kind += "connect+"
		body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	}
	if asJSON {
		kind += "json"
	} else {
		kind += "proto"
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, schema.Procedure(m), bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Connect-Protocol-Version", "1")
	r.TLS = &tls.ConnectionState{}
	switch schema.Access(schema.Procedure(m)) {
	case tandemv1.Access_ACCESS_WORKER:
		r.TLS.VerifiedChains = [][]*x509.Certificate{w.chain[identity.RoleWorker]}
	case tandemv1.Access_ACCESS_COORDINATOR:
		r.TLS.VerifiedChains = [][]*x509.Certificate{w.chain[identity.RoleCoordinator]}
	default:
		r.Header.Set("Authorization", "Bearer "+adminSecret)
	}
	return r
}

// unwritten is an audit log that nobody reads.
type unwritten struct{}

func (unwritten) Record(*tandemv1.AuditEntry) {}

func (unwritten) List(*tandemv1.ListAuditRequest) (*tandemv1.ListAuditResponse, error) {
	return &tandemv1.ListAuditResponse{}, nil
}

// unreachable is the way to the other coordinators.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("unreachable")
}

// ends collects the coordinators that had to end.
type ends struct {
	mu  sync.Mutex
	all []error
}

func (e *ends) note(_ int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, err)
}

func propose(t *testing.T, c *coordtest.Cluster, cmd *tandemv1.Command) {
	t.Helper()
	if _, err := c.Node(c.Leader()).Propose(context.Background(), cmd); err != nil {
		t.Errorf("the coordinators do not go on: %v", err)
	}
}

// serve founds the cluster and serves what its leader does.
func (w *world) serve(t *testing.T, c *coordtest.Cluster) http.Handler {
	t.Helper()
	propose(t, c, &tandemv1.Command{Command: &tandemv1.Command_CreateCluster{CreateCluster: &tandemv1.CreateCluster{Cluster: &tandemv1.Cluster{Id: "cluster-1"}}}})
	propose(t, c, &tandemv1.Command{Command: &tandemv1.Command_PutToken{PutToken: &tandemv1.PutToken{Token: &tandemv1.Token{
		Id: "token-1", Name: "admin", Role: "admin", Sha256: identity.HashToken(adminSecret),
	}}}})
	propose(t, c, &tandemv1.Command{Command: &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: &tandemv1.Node{
		Id: workerID, Name: "w", Pool: "default", Incarnation: 1, Slots: []*tandemv1.Slot{{Id: "cpu0"}},
	}}}})
	c.WaitApplied()
	at := c.Leader()
	store := memstore.New(memstore.Config{})
	a, err := api.New(api.DefaultConfig(), api.Deps{
		Consensus: c.Node(at), Voters: c.Node(at), State: c.State(at), Board: board.New(), Clocks: board.NewClocks(),
		Store:   func() (storage.Store, error) { return store, nil },
		Members: func() []gossip.Member { return nil }, CA: func() *pki.CA { return w.ca }, Seal: w.seal,
		Self: identity.NewLive(t.TempDir(), w.self), Log: zerolog.Nop(), Audit: unwritten{}, Metrics: api.NewMetrics(prometheus.NewRegistry()),
		Peer: func(address string) tandemv1connect.ClusterServiceClient {
			return tandemv1connect.NewClusterServiceClient(&http.Client{Transport: unreachable{}}, "https://"+address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// call sends one request to three living coordinators. None may end, and all must agree and go on afterwards.
func (w *world) call(t *testing.T, m protoreflect.MethodDescriptor, asJSON bool, body []byte) (status int) {
	synctest.Test(t, func(t *testing.T) {
		ended := &ends{}
		c := coordtest.New(t, 3, coordtest.WithFatal(ended.note))
		defer c.Stop()
		h := w.serve(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, w.request(ctx, m, asJSON, body))
		status = answer.Code
		propose(t, c, &tandemv1.Command{Command: &tandemv1.Command_Expire{Expire: &tandemv1.Expire{}}})
		c.WaitApplied()
		var first []byte
		for i := range c.Len() {
			var b bytes.Buffer
			if err := format.Write(&b, c.State(i).View()); err != nil {
				t.Error(err)
			}
			if first == nil {
				first = b.Bytes()
			} else if !bytes.Equal(first, b.Bytes()) {
				t.Errorf("coordinators 0 and %d differ", i)
			}
		}
		if err := errors.Join(ended.all...); err != nil {
			t.Errorf("a coordinator ended: %v", err)
		}
	})
	return status
}

func (w *world) index(procedure string) int {
	for i, m := range w.calls {
		if schema.Procedure(m) == procedure {
			return i
		}
	}
	return -1
}

// strangeField is field 9999, a varint, which no message has.
func strangeField() []byte { return []byte{0xf8, 0xf0, 0x04, 1} }

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withStrange[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(strangeField())
	return m
}

// FuzzRequests sends any bytes, as protobuf or as JSON, to any procedure, by whoever may call it.
func FuzzRequests(f *testing.F) {
	w := newWorld(f)
	seed := func(procedure string, m proto.Message) {
		i := w.index(procedure)
		if i < 0 {
			f.Fatalf("%s is not a procedure", procedure)
		}
		f.Add(uint16(i), false, encoded(f, m))
	}
	// These ended all coordinators once.
	seed(tandemv1connect.JobServiceSubmitJobProcedure, &tandemv1.SubmitJobRequest{Spec: withStrange(&tandemv1.JobSpec{Name: "x", Dataset: "digits"})})
	seed(tandemv1connect.AgentServiceReportProcedure, &tandemv1.ReportRequest{NodeId: workerID, Incarnation: 9, Reports: []*tandemv1.EngineReport{withStrange(&tandemv1.EngineReport{})}})
	seed(tandemv1connect.PeerServiceProposeProcedure, &tandemv1.ProposeRequest{})
	for i := range w.calls {
		f.Add(uint16(i), false, []byte(nil))
		f.Add(uint16(i), true, []byte("{}"))
		f.Add(uint16(i), false, strangeField())
	}
	f.Fuzz(func(t *testing.T, call uint16, asJSON bool, body []byte) {
		w.call(t, w.calls[int(call)%len(w.calls)], asJSON, body)
	})
}

// TestUnknownFieldAtEachProcedure: a field that no message has is refused by each procedure that takes one message.
func TestUnknownFieldAtEachProcedure(t *testing.T) {
	w := newWorld(t)
	for _, m := range w.calls {
		if m.IsStreamingClient() || m.IsStreamingServer() {
			continue // the status of a stream is in its last message
		}
		if status := w.call(t, m, false, strangeField()); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", m.FullName(), status)
		}
	}
}
