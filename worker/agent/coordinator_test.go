package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// cluster is a fake control plane: coordinators on loopback TLS that share one state, as if by Raft.
type cluster struct {
	t     testing.TB
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	token identity.JoinToken
	creds *identity.Credentials // of the coordinators

	mu       sync.Mutex
	changed  chan struct{}
	index    uint64
	desired  []*tandemv1.EngineTask
	sessions int // open now
	opened   int // ever
	node     *tandemv1.Node
	reports  []*tandemv1.EngineReport
	batches  int
	refuse   func(*tandemv1.EngineReport) string
	progress []*tandemv1.Progress
	values   map[string][]byte
	members  []string
	gossip   []string
	mute     bool     // sessions say nothing more
	left     int      // reports there were when the agent said that it stops; -1: it has not
	joined   int      // nodes that ever did
	removed  bool     // the node was removed from the cluster
	exiles   []string // nodes that were removed
	viewers  *tandemv1.Viewers
	renewals []*tandemv1.RenewRequest
	keys     *tandemv1.Keys // nil: those it began with
	resign   bool           // the next renewal gives a new certificate
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	ca, err := x509.ParseCertificate(der)
	must(t, err)
	c := &cluster{t: t, ca: ca, caKey: key, changed: make(chan struct{}), index: 100, values: map[string][]byte{}, left: -1}
	c.token = identity.NewJoinToken(identity.RoleWorker, ca)
	c.creds = c.credentials(identity.RoleCoordinator, "node-coordinator")
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) sign(id identity.Identity, public any) ([]byte, error) {
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{id.URI()}, DNSNames: id.DNSNames(), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, c.ca, public, c.caKey)
}

// credentials are those of another node.
func (c *cluster) credentials(role identity.Role, node string) *identity.Credentials {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.t, err)
	id := identity.Identity{Cluster: "cluster-test", Role: role, Node: node}
	der, err := c.sign(id, key.Public())
	must(c.t, err)
	return &identity.Credentials{Identity: id, CA: c.ca, Chain: [][]byte{der, c.ca.Raw}, Key: key, GossipKey: make([]byte, 32)}
}

// member is one coordinator.
type member struct {
	address string
	srv     *http.Server
}

// open starts a coordinator; an address may be given to start one again.
func (c *cluster) open(address string) *member {
	c.t.Helper()
	l, err := net.Listen("tcp", address)
	must(c.t, err)
	mux := http.NewServeMux()
	mux.Handle(tandemv1connect.NewAgentServiceHandler(c))
	mux.Handle(tandemv1connect.ClusterServiceJoinClusterProcedure, connect.NewUnaryHandler(tandemv1connect.ClusterServiceJoinClusterProcedure, c.join))
	m := &member{l.Addr().String(), &http.Server{Handler: mux, TLSConfig: c.creds.ServerConfig(true, "h2"), ReadHeaderTimeout: time.Minute}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.srv.ServeTLS(l, "", "")
	}()
	c.t.Cleanup(func() {
		m.close()
		<-done
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.members, m.address) {
		c.members = append(c.members, m.address)
	}
	return m
}

// close breaks all connections.
func (m *member) close() { _ = m.srv.Close() }

func (c *cluster) join(_ context.Context, req *connect.Request[tandemv1.JoinClusterRequest]) (*connect.Response[tandemv1.JoinClusterResponse], error) {
	if req.Msg.GetToken() != c.token.String() {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("wrong token"))
	}
	csr, err := x509.ParseCertificateRequest(req.Msg.GetCsr())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined++
	id := fmt.Sprint("node-", c.joined)
	der, err := c.sign(identity.Identity{Cluster: "cluster-test", Role: identity.RoleWorker, Node: id}, csr.PublicKey)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.JoinClusterResponse{
		NodeId: id, ClusterId: "cluster-test", Certificate: der, CaCertificate: c.ca.Raw, GossipKey: make([]byte, 32),
		Coordinators: c.members, Gossip: c.gossip,
	}), nil
}

// change changes the state and wakes all who wait for it.
func (c *cluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// want sets the desired state and returns its index.
func (c *cluster) want(tasks ...*tandemv1.EngineTask) {
	c.change(func() {
		c.index++
		c.desired = tasks
	})
}

// await waits until f, which may read the state, says true.
func (c *cluster) await(what string, f func() bool) {
	c.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		c.mu.Lock()
		ok, changed := f(), c.changed
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("waited in vain for %s; reports: %v", what, c.reports)
		}
	}
}

// find returns the last report of an engine that f accepts; it needs mu.
func (c *cluster) find(engine string, f func(*tandemv1.EngineReport) bool) *tandemv1.EngineReport {
	for _, r := range slices.Backward(c.reports) {
		if r.GetEngineId() == engine && f(r) {
			return r
		}
	}
	return nil
}

// last is find for those who do not hold mu.
func (c *cluster) last(engine string, f func(*tandemv1.EngineReport) bool) *tandemv1.EngineReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(engine, f)
}

// starts counts how often an engine was ready.
func (c *cluster) starts(engine string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.reports {
		if r.GetEngineId() == engine && r.GetReady() != nil {
			n++
		}
	}
	return n
}

// registered is the node as its agent says it is.
func (c *cluster) registered() *tandemv1.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
}

// report waits for a report of an engine.
func (c *cluster) report(engine, what string, f func(*tandemv1.EngineReport) bool) *tandemv1.EngineReport {
	c.t.Helper()
	var r *tandemv1.EngineReport
	c.await(what+" of "+engine, func() bool {
		r = c.find(engine, f)
		return r != nil
	})
	return r
}

func isReady(r *tandemv1.EngineReport) bool   { return r.GetReady() != nil }
func hasFailed(r *tandemv1.EngineReport) bool { return r.GetFailed() != nil }

// isDone finds the report by which a fake engine says that it has done what its job names.
func isDone(r *tandemv1.EngineReport) bool { return r.GetEvaluation().GetStep() == 9 }

// up waits until an engine works and returns its process id.
func (c *cluster) up(engine string) int {
	c.t.Helper()
	c.report(engine, "ready", isReady)
	r := c.report(engine, "pid", func(r *tandemv1.EngineReport) bool { return r.GetEvaluation().GetMetrics()["pid"] > 0 })
	return int(r.GetEvaluation().GetMetrics()["pid"])
}

// Session implements AgentService.
func (c *cluster) Session(ctx context.Context, req *connect.Request[tandemv1.SessionRequest], stream *connect.ServerStream[tandemv1.SessionResponse]) error {
	c.change(func() {
		c.sessions++
		c.opened++
		c.node = req.Msg.GetNode()
	})
	defer c.change(func() { c.sessions-- })
	for {
		c.mu.Lock()
		m := &tandemv1.SessionResponse{Index: c.index, Engines: c.desired, Coordinators: c.members, KeysVersion: c.keys.GetVersion(), Removed: &tandemv1.Removed{NodeIds: c.exiles}, Viewers: c.viewers}
		changed, mute, removed := c.changed, c.mute, c.removed
		c.mu.Unlock()
		if removed {
			return connect.NewError(connect.CodePermissionDenied, errors.New("node-1 was removed: join again"))
		}
		if !mute {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Report implements AgentService.
func (c *cluster) Report(_ context.Context, req *connect.Request[tandemv1.ReportRequest]) (*connect.Response[tandemv1.ReportResponse], error) {
	refusals := make([]string, len(req.Msg.GetReports()))
	c.change(func() {
		c.batches++
		if req.Msg.GetLeaving() {
			c.left = len(c.reports)
		}
		for i, r := range req.Msg.GetReports() {
			if c.refuse != nil {
				refusals[i] = c.refuse(r)
			}
			if refusals[i] == "" {
				c.reports = append(c.reports, r)
			}
		}
	})
	return connect.NewResponse(&tandemv1.ReportResponse{Refusals: refusals}), nil
}

// ReportProgress implements AgentService.
func (c *cluster) Renew(_ context.Context, req *connect.Request[tandemv1.RenewRequest]) (*connect.Response[tandemv1.RenewResponse], error) {
	c.change(func() { c.renewals = append(c.renewals, req.Msg) })
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &tandemv1.RenewResponse{Keys: c.keys}
	if res.Keys == nil {
		res.Keys = &tandemv1.Keys{Version: 1, Authorities: [][]byte{c.ca.Raw}, GossipKeys: [][]byte{make([]byte, 32)}}
	}
	if c.resign {
		csr, err := x509.ParseCertificateRequest(req.Msg.GetCsr())
		if err != nil {
			return nil, err
		}
		c.resign = false
		if res.Certificate, err = c.sign(identity.Identity{Cluster: "cluster-test", Role: identity.RoleWorker, Node: req.Msg.GetNodeId()}, csr.PublicKey); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(res), nil
}

func (c *cluster) ReportProgress(_ context.Context, req *connect.Request[tandemv1.ReportProgressRequest]) (*connect.Response[tandemv1.ReportProgressResponse], error) {
	c.change(func() { c.progress = append(c.progress, req.Msg.GetProgress()...) })
	return connect.NewResponse(&tandemv1.ReportProgressResponse{}), nil
}

// RendezvousSet implements AgentService.
func (c *cluster) RendezvousSet(_ context.Context, req *connect.Request[tandemv1.RendezvousSetRequest]) (*connect.Response[tandemv1.RendezvousSetResponse], error) {
	if req.Msg.GetGeneration() == 13 {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("generation 13 is over"))
	}
	c.change(func() { c.values[req.Msg.GetAllocationId()+"/"+req.Msg.GetKey()] = req.Msg.GetValue() })
	return connect.NewResponse(&tandemv1.RendezvousSetResponse{}), nil
}

// RendezvousGet implements AgentService.
func (c *cluster) RendezvousGet(ctx context.Context, req *connect.Request[tandemv1.RendezvousGetRequest]) (*connect.Response[tandemv1.RendezvousGetResponse], error) {
	for {
		c.mu.Lock()
		value, ok := c.values[req.Msg.GetAllocationId()+"/"+req.Msg.GetKey()]
		changed := c.changed
		c.mu.Unlock()
		if ok {
			return connect.NewResponse(&tandemv1.RendezvousGetResponse{Value: value}), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
