package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// Client is all services of a cluster.
type Client struct {
	Jobs        tandemv1connect.JobServiceClient
	Metrics     tandemv1connect.MetricServiceClient
	Sweeps      tandemv1connect.SweepServiceClient
	Datasets    tandemv1connect.DatasetServiceClient
	Artifacts   tandemv1connect.ArtifactServiceClient
	Checkpoints tandemv1connect.CheckpointServiceClient
	Models      tandemv1connect.ModelServiceClient
	Deployments tandemv1connect.DeploymentServiceClient
	Projects    tandemv1connect.ProjectServiceClient
	Nodes       tandemv1connect.NodeServiceClient
	Tokens      tandemv1connect.TokenServiceClient
	Events      tandemv1connect.EventServiceClient
	Cluster     tandemv1connect.ClusterServiceClient

	// HTTP asks any path of the API: its requests go to the coordinator that answered last, with the token.
	HTTP *http.Client
	// Context is how the cluster is reached.
	Context Context
	// Patience is how long calls are repeated.
	Patience Patience
}

// Patience is how long a call is repeated.
type Patience struct {
	Silent  time.Duration // nothing answers at any endpoint
	Leading time.Duration // coordinators answer, but say that they cannot serve now, such as while they elect
	Pause   time.Duration // between two rounds
}

// With is how long a call is repeated that ended with err.
func (p Patience) With(err error) time.Duration {
	if refused(err) {
		return p.Silent
	}
	return p.Leading
}

// DefaultPatience outlasts an election.
func DefaultPatience() Patience {
	return Patience{Silent: 2 * time.Second, Leading: 20 * time.Second, Pause: 200 * time.Millisecond}
}

// BaseURL stands for whichever coordinator is asked; the transport puts the endpoint in.
const BaseURL = "https://coordinator"

// New makes a client. Nothing is dialled yet.
func New(c Context, p Patience, userAgent string) (*Client, error) {
	if len(c.Endpoints) == 0 {
		return nil, fmt.Errorf("context %q has no endpoints", c.Name)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, fmt.Errorf("context %q: its CA is not a certificate in PEM", c.Name)
		}
		cfg.ServerName = identity.RoleName(identity.RoleCoordinator)
	}
	transport := identity.Transport(cfg)
	transport.Proxy = nil
	h := &http.Client{
		Transport:     newRotating(identity.Speak(transport), c, userAgent),
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the coordinator sends elsewhere") },
	}
	cl := &Client{HTTP: h, Context: c, Patience: p}
	opts := connect.WithClientOptions(connect.WithInterceptors(speaker{}, connect.UnaryInterceptorFunc(cl.persist)), Bounded())
	cl.Jobs = tandemv1connect.NewJobServiceClient(h, BaseURL, opts)
	cl.Metrics = tandemv1connect.NewMetricServiceClient(h, BaseURL, opts)
	cl.Sweeps = tandemv1connect.NewSweepServiceClient(h, BaseURL, opts)
	cl.Datasets = tandemv1connect.NewDatasetServiceClient(h, BaseURL, opts)
	cl.Artifacts = tandemv1connect.NewArtifactServiceClient(h, BaseURL, opts)
	cl.Checkpoints = tandemv1connect.NewCheckpointServiceClient(h, BaseURL, opts)
	cl.Models = tandemv1connect.NewModelServiceClient(h, BaseURL, opts)
	cl.Deployments = tandemv1connect.NewDeploymentServiceClient(h, BaseURL, opts)
	cl.Projects = tandemv1connect.NewProjectServiceClient(h, BaseURL, opts)
	cl.Nodes = tandemv1connect.NewNodeServiceClient(h, BaseURL, opts)
	cl.Tokens = tandemv1connect.NewTokenServiceClient(h, BaseURL, opts)
	cl.Events = tandemv1connect.NewEventServiceClient(h, BaseURL, opts)
	cl.Cluster = tandemv1connect.NewClusterServiceClient(h, BaseURL, opts)
	return cl, nil
}

// Bounded lets a client of any service read as much as this one: one answer, or one message of a stream, is at most maxAnswer.
func Bounded() connect.ClientOption { return connect.WithReadMaxBytes(maxAnswer) }

// Close lets connections go.
func (c *Client) Close() { c.HTTP.CloseIdleConnections() }

// rotating sends each request to the current endpoint and goes on to the next one when that cannot serve.
type rotating struct {
	base    *identity.Speaker
	token   string
	project string
	agent   string
	learns  bool                    // see Client.Learn
	reach   atomic.Pointer[Context] // who is asked
	current atomic.Uint32
	// answered is the endpoint that served last; see Client.Learned.
	answered atomic.Pointer[string]
}

func newRotating(base *identity.Speaker, c Context, agent string) *rotating {
	t := &rotating{base: base, token: c.Token, project: c.Project, agent: agent}
	t.reach.Store(&c)
	return t
}

// endpoint is where turn i asks.
func (t *rotating) endpoint(i uint32) string {
	all := t.reach.Load().Reach()
	return all[int(i)%len(all)]
}

// CloseIdleConnections is what http.Client looks for.
func (t *rotating) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (t *rotating) RoundTrip(req *http.Request) (*http.Response, error) {
	i := t.current.Load()
	r := req.Clone(req.Context())
	r.URL.Host = t.endpoint(i)
	r.Host = r.URL.Host
	if t.token != "" {
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	if t.project != "" {
		r.Header.Set(identity.ProjectHeader, t.project)
	}
	r.Header.Set("User-Agent", t.agent)
	res, err := t.base.RoundTrip(r)
	if err != nil && req.Context().Err() == nil || err == nil && res.StatusCode == http.StatusServiceUnavailable {
		t.current.CompareAndSwap(i, i+1)
	}
	if err == nil && res.StatusCode < http.StatusInternalServerError {
		t.answered.Store(&r.URL.Host)
	}
	if err == nil && t.learns {
		t.learn(res.Header)
	}
	return res, err
}

// Turn counts how often another coordinator was chosen. Take it before a stream is opened, and give it to Rotate.
func (c *Client) Turn() uint32 {
	if t, ok := c.HTTP.Transport.(*rotating); ok {
		return t.current.Load()
	}
	return 0
}

// Rotate goes on to the next coordinator after a stream broke, whose errors the transport does not always see; it does
// nothing when that has happened since turn.
func (c *Client) Rotate(turn uint32) {
	if t, ok := c.HTTP.Transport.(*rotating); ok {
		t.current.CompareAndSwap(turn, turn+1)
	}
}

// Endpoint is the host:port that is asked next.
func (c *Client) Endpoint() string {
	t, ok := c.HTTP.Transport.(*rotating)
	if !ok {
		return c.Context.Endpoints[0]
	}
	return t.endpoint(t.current.Load())
}
