package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"tandem.dev/coordinator/board"
	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/plausible"
	"tandem.dev/coordinator/rest"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
)

// Consensus is what the API needs of consensus.Node.
type Consensus interface {
	Propose(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error)
	ProposeLocal(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error)
	View(ctx context.Context) (*state.View, error)
	ReadIndexLocal(ctx context.Context) (uint64, error)
}

// Voters is what the API needs of consensus.Node to change the Raft cluster.
type Voters interface {
	Leader() (id, address string)
	IsLeader() bool
	AddLearner(ctx context.Context, id, address string) error
	AddPeer(ctx context.Context, id, address string) error
	RemovePeer(ctx context.Context, id string) error
	Peers() []consensus.Peer
	// Contact is what this coordinator, if it leads, has learned of another one itself.
	Contact(peer string) consensus.Contact
}

// Config of the API.
type Config struct {
	// Version of the program, as clients see it.
	Version string
	// MaxArtifact is the largest file a client may upload, in bytes.
	MaxArtifact int64
	// MaxMessage is the largest message of a coordinator, and the largest answer, in bytes.
	MaxMessage int
	// MaxRequest is the largest message of a client or an agent, in bytes, after it was unpacked.
	MaxRequest int
	// MaxJoin is the largest request of a caller that is not known yet, in bytes.
	MaxJoin int64
	// Joins is how many of those are served at once.
	Joins int
	// Limits of what is served at once, and to whom.
	Limits door.Limits
	// Beat is the longest time between two messages of a session.
	Beat time.Duration
	// LogPoll is the time between looks for new log lines of a job that is followed.
	LogPoll time.Duration
	// LogSweep is the time between listings of all objects of such a job's log; between them only the newest are listed.
	LogSweep time.Duration
}

// DefaultConfig is what a coordinator takes.
func DefaultConfig() Config {
	return Config{
		MaxArtifact: 16 << 30, MaxMessage: 8 << 20, MaxRequest: 1<<20 + 64<<10, MaxJoin: 16 << 10, Joins: 16,
		Limits: door.DefaultLimits(),
		Beat:   4 * time.Second, LogPoll: time.Second, LogSweep: 30 * time.Second,
	}
}

// Validate says what is wrong.
func (c Config) Validate() error {
	if c.MaxArtifact <= 0 || c.MaxMessage <= 0 || c.MaxRequest <= 0 || c.MaxJoin <= 0 || c.Joins <= 0 || c.Beat <= 0 || c.LogPoll <= 0 || c.LogSweep <= 0 {
		return errors.New("api: limits and times must be greater than 0")
	}
	return c.Limits.Validate()
}

// Deps of the API.
type Deps struct {
	Consensus Consensus
	Voters    Voters
	State     *state.State
	Board     *board.Board
	// Explain says why trials wait, or train with fewer ranks than they should, by trial.
	Explain func(*state.View, time.Time) map[string]*tandemv1.Reason
	// Outlook says what is ahead of a job; with a trial, what would be if both were submitted.
	Outlook func(*state.View, *tandemv1.Job, *tandemv1.Trial, time.Time) *tandemv1.Outlook
	// Store is where the objects are; it fails until the cluster has said so.
	Store func() (storage.Store, error)
	// Members are the nodes that gossip hears of.
	Members func() []gossip.Member
	// Clocks are what is heard of the clocks of others.
	Clocks *board.Clocks
	// CA signs those who join.
	CA func() *pki.CA
	// Seal opens the secrets of the state.
	Seal *pki.Seal
	// Self are this coordinator's credentials.
	Self *identity.Live
	// OpenStore opens a store that is to be tried.
	OpenStore func(*tandemv1.StorageConfig) (storage.Store, error)
	// Peers calls what coordinators ask of each other, by the host:port of the API port.
	Peers func(address string) tandemv1connect.PeerServiceClient
	// Peer calls another coordinator, by the host:port of its API port.
	Peer func(address string) tandemv1connect.ClusterServiceClient
	// Audit is where calls are written down.
	Audit Audit
	// Metrics count them.
	Metrics *Metrics
	Log     zerolog.Logger
}

// API serves the services.
type API struct {
	cfg    Config
	deps   Deps
	router *rest.Router
	joins  *semaphore.Weighted // calls of those who are not known yet
	// verify lets one dataset be read at a time: a shard of it is in memory three times.
	verify  *semaphore.Weighted
	files   *modelFiles
	callers *door.Callers
	notes   *plausible.Notes
	// standing is who has a stream open.
	standing *standing
	bearers  *bearers
	adding   sync.Mutex // coordinators join and leave one at a time

	explained explainer
}

// compressFrom is how many bytes an answer has at least that is compressed: for a small one, such as that to a report, it costs more
// than all else.
const compressFrom = 4096

// New returns an API.
func New(cfg Config, deps Deps) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	routes, err := rest.NewRouter()
	if err != nil {
		return nil, err
	}
	files, err := newModelFiles()
	if err != nil {
		return nil, err
	}
	return &API{
		cfg: cfg, deps: deps, router: routes, files: files,
		joins: semaphore.NewWeighted(int64(cfg.Joins)), verify: semaphore.NewWeighted(1),
		callers: door.NewCallers(cfg.Limits), notes: plausible.NewNotes(), standing: &standing{open: map[*guest]bool{}}, bearers: &bearers{tokens: map[string]*tandemv1.Token{}},
	}, nil
}

// Handler serves all services: Connect, gRPC and gRPC-Web at /tandem.v1.<Service>/<Method>, REST at /v1/... . Who asks, and whether
// they may, is found out before anything of a body is read.
func (a *API) Handler() (http.Handler, error) {
	opts := []connect.HandlerOption{
		connect.WithInterceptors(&guard{a}, auditor{a}, rest.Sizes{}, schema.Strict()),
		connect.WithReadMaxBytes(a.cfg.MaxRequest),
		connect.WithCompressMinBytes(compressFrom),
		connect.WithRecover(a.recovered),
	}
	between := opts[:len(opts):len(opts)] // coordinators want codes only
	opts = append(opts, connect.WithInterceptors(speaker{a}))
	var services []*vanguard.Service
	mount := func(path string, h http.Handler) { services = append(services, vanguard.NewService(path, h)) }
	mount(tandemv1connect.NewJobServiceHandler(jobs{a}, opts...))
	mount(tandemv1connect.NewSweepServiceHandler(sweeps{a}, opts...))
	mount(tandemv1connect.NewMetricServiceHandler(metricService{a}, opts...))
	mount(tandemv1connect.NewDatasetServiceHandler(datasets{a}, opts...))
	mount(tandemv1connect.NewArtifactServiceHandler(artifacts{a}, opts...))
	mount(tandemv1connect.NewCheckpointServiceHandler(checkpoints{a}, opts...))
	mount(tandemv1connect.NewModelServiceHandler(models{a}, opts...))
	mount(tandemv1connect.NewDeploymentServiceHandler(deployments{a}, opts...))
	mount(tandemv1connect.NewNodeServiceHandler(nodes{a}, opts...))
	mount(tandemv1connect.NewEventServiceHandler(events{a}, opts...))
	mount(tandemv1connect.NewProjectServiceHandler(projects{a}, opts...))
	mount(tandemv1connect.NewTokenServiceHandler(tokens{a}, opts...))
	mount(tandemv1connect.NewClusterServiceHandler(cluster{a}, opts...))
	mount(tandemv1connect.NewAgentServiceHandler(agents{a}, opts...))
	mount(tandemv1connect.NewPeerServiceHandler(peers{a}, append(between, connect.WithReadMaxBytes(a.cfg.MaxMessage))...))
	procedures, err := a.transcoder(services, rest.NewStrictJSON)
	if err != nil {
		return nil, err
	}
	plainly, err := a.transcoder(services, rest.NewPlainJSON)
	if err != nil {
		return nil, err
	}
	return a.admit(rest.ByPath(versioned(procedures), a.overREST(plainly)), a.callOf), nil
}

// transcoder serves services in all protocols, with one form of JSON.
func (a *API) transcoder(services []*vanguard.Service, json func(vanguard.TypeResolver) vanguard.Codec) (http.Handler, error) {
	t, err := vanguard.NewTranscoder(services,
		vanguard.WithDefaultServiceOptions(
			vanguard.WithMaxMessageBufferBytes(uint32(a.cfg.MaxMessage)), //nolint:gosec // far below 4 GiB
			vanguard.WithTargetCodecs(vanguard.CodecProto)),              // or JSON would pass by the strict codec
		vanguard.WithCodec(json),
		vanguard.WithCompression(vanguard.CompressionGzip, door.NewGzip, door.Gunzips(int64(a.cfg.MaxMessage))))
	if err != nil {
		return nil, fmt.Errorf("serve the API: %w", err)
	}
	return t, nil
}

// versioned lets calls of the Connect protocol pass that do not say its version, as curl's: the protocol does not ask for it, but the
// transcoder tells them by it.
func versioned(next http.Handler) http.Handler {
	const version = "Connect-Protocol-Version"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what is not one is none of these
		message := kind == "application/json" || kind == "application/proto"
		if r.Method == http.MethodPost && message && r.Header.Get(version) == "" && strings.HasPrefix(r.URL.Path, rest.ProcedurePrefix) {
			r.Header.Set(version, "1")
		}
		next.ServeHTTP(w, r)
	})
}

// recovered answers a request whose handler panicked; the others go on.
func (a *API) recovered(_ context.Context, spec connect.Spec, _ http.Header, p any) error {
	a.deps.Log.Error().Str("procedure", spec.Procedure).Interface("panic", p).Msg("api: a handler panicked")
	return connect.NewError(connect.CodeInternal, errors.New("internal error: see the coordinator's log"))
}

// propose proposes a command for who asks and turns a refusal into an error.
func (a *API) propose(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	cmd.Actor = From(ctx).Name
	res, err := a.deps.Consensus.Propose(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return res, refused(res)
}

// write is propose with the client's request id, or one made here, and the state as the caller sees it afterwards.
func (a *API) write(ctx context.Context, req request, cmd *tandemv1.Command) (*tandemv1.Result, *state.View, error) {
	if err := name(ctx, cmd, req); err != nil {
		return nil, nil, err
	}
	res, err := a.propose(ctx, cmd)
	if err != nil {
		return nil, nil, err
	}
	if err := a.deps.State.Wait(ctx, res.GetIndex()-1); err != nil {
		return nil, nil, err
	}
	return res, a.now(ctx), nil
}
