package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/s3"
	"tandem.dev/worker/child"
	"tandem.dev/worker/rotate"
	"tandem.dev/worker/tunnel"
)

// Agent is the agent of one node.
type Agent struct {
	cfg  Config
	deps Deps

	metrics *metrics
	ready   chan struct{}
	bound   chan struct{}
	address string
}

// New makes an agent. It touches nothing yet: Run does.
func New(cfg Config, deps Deps) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("agent: data folder: %w", err)
	}
	cfg.DataDir = dir
	if deps.OpenStore == nil {
		deps.OpenStore = openS3
	}
	return &Agent{cfg: cfg, deps: deps, metrics: newMetrics(cfg.Version), ready: make(chan struct{}), bound: make(chan struct{})}, nil
}

func openS3(c *tandemv1.StorageConfig) (storage.Store, error) {
	return s3.New(s3.ConfigOf(c))
}

// Ready is closed when the node has got its first desired state.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Address waits until the HTTPS server listens and returns its host:port as others reach it; empty when ctx ends first.
func (a *Agent) Address(ctx context.Context) string {
	select {
	case <-a.bound:
		return a.address
	case <-ctx.Done():
		return ""
	}
}

// Run joins the cluster if the node has not, ends what a former agent left, and keeps the wanted engines until ctx
// ends. Then it ends them, reports that as well as it can, says goodbye to the ring, and returns nil.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.run(ctx); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

func (a *Agent) run(ctx context.Context) error {
	unlock, err := lockFolder(a.cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	former, err := a.killFormer()
	if err != nil {
		return err
	}
	creds, err := a.credentials(ctx)
	if err != nil {
		return err
	}
	n, err := a.assemble(ctx, creds)
	if err != nil {
		return err
	}
	for _, e := range former {
		if e.Replica {
			continue // it has no state: it starts again if it is still wanted
		}
		n.supervisor.former(e)
	}
	return n.run(ctx)
}

// killFormer kills the engines of a former agent on this data folder.
func (a *Agent) killFormer() ([]entry, error) {
	entries, torn, err := a.journal().read()
	if err != nil {
		return nil, err
	}
	for _, path := range torn {
		a.deps.Log.Warn().Str("file", path).Msg("an entry of the journal of engines could not be read and was removed: its engine has ended with the agent that had started it")
	}
	for _, e := range entries {
		was, err := e.Kill()
		if err != nil {
			return nil, err
		}
		if was {
			a.deps.Log.Warn().Str("engine", e.ID).Int64("gen", e.Generation).Int("pid", e.Pid).Msg("killed an engine that a former agent left")
		}
		if e.Replica {
			if err := a.journal().forget(e.key()); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

func (a *Agent) journal() journal { return journal{dir: a.path("engines")} }

func (a *Agent) path(elem ...string) string {
	return filepath.Join(append([]string{a.cfg.DataDir}, elem...)...)
}

// credentials are those in the data folder, or new ones got with the join token.
func (a *Agent) credentials(ctx context.Context) (*identity.Credentials, error) {
	creds, err := identity.Load(a.path("pki"))
	if errors.Is(err, identity.ErrNone) && a.wasJoined() {
		err = &identity.Damaged{Path: a.path("pki", identity.FileNode), Err: fs.ErrNotExist}
	}
	if damaged := (*identity.Damaged)(nil); errors.As(err, &damaged) {
		return nil, fmt.Errorf("%w: %s", err, a.remedy(filepath.Base(damaged.Path)))
	}
	if err == nil {
		if creds.Identity.Role != identity.RoleWorker {
			return nil, fmt.Errorf("data folder %s belongs to a %s: give the worker one of its own", a.cfg.DataDir, creds.Identity.Role)
		}
		return creds, nil
	}
	if !errors.Is(err, identity.ErrNone) {
		return nil, err
	}
	if a.cfg.JoinToken == "" || len(a.cfg.Join) == 0 {
		return nil, errors.New("this node has not joined a cluster: give --join host:port and --token; \"tandem token create --join --role worker\" prints a token")
	}
	joined, err := a.join(ctx)
	if err != nil {
		return nil, err
	}
	if err := joined.Credentials.Save(a.path("pki")); err != nil {
		return nil, err
	}
	return joined.Credentials, nil
}

// wasJoined says whether the node ran before and something of its keys is left: it must not become another one without a word.
func (a *Agent) wasJoined() bool {
	if _, err := os.Stat(a.path("incarnation")); err != nil {
		return false
	}
	left, err := os.ReadDir(a.path("pki"))
	return err == nil && len(left) > 0
}

// remedy is what to do about a file of the folder of keys.
func (a *Agent) remedy(file string) string {
	if file == identity.FilePeers {
		return identity.PeersRemedy
	}
	return fmt.Sprintf("put back a copy of the file, or empty the folder %s and join again with a new token "+
		"(tandem token create --join --role worker): with its name and address the node takes its own place", a.path("pki"))
}

// join gets credentials with the join token. A coordinator that is about to start is waited for, a moment.
func (a *Agent) join(ctx context.Context) (*identity.Joined, error) {
	const patience = 30 * time.Second
	wait, end := newBackoff(), time.Now().Add(patience)
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	for {
		joined, err := identity.Join(ctx, identity.JoinConfig{
			Coordinators: a.cfg.Join, Token: a.cfg.JoinToken, Role: identity.RoleWorker, Key: key,
		})
		if err == nil {
			return joined, nil
		}
		if clocks := (*identity.ClockError)(nil); errors.As(err, &clocks) {
			return nil, fmt.Errorf("join: %w", clocks)
		}
		if connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, identity.ErrPin) || time.Now().After(end) {
			return nil, err
		}
		a.deps.Log.Info().Err(err).Msg("no coordinator answers yet; trying to join again")
		if wait.sleep(ctx) != nil {
			return nil, err
		}
	}
}

// assemble makes the parts of a running agent.
func (a *Agent) assemble(ctx context.Context, creds *identity.Credentials) (*node, error) {
	binary, err := a.cfg.engineBinary()
	if err != nil {
		return nil, err
	}
	confined, groups, err := a.sandbox(binary)
	if err != nil {
		return nil, err
	}
	if err := emptyFolder(a.path("scratch")); err != nil {
		return nil, fmt.Errorf("empty the folder for temporary files: %w", err)
	}
	found, err := a.discover(ctx, confined)
	if err != nil {
		return nil, err
	}
	if n := len(slotsOf(found.Devices, a.cfg.Slots, a.cfg.cores())); a.cfg.EngineUsers != (Users{}) && a.cfg.EngineUsers.count() < n {
		return nil, fmt.Errorf("%d users are too few for %d slots: give a larger range to --engine-uids", a.cfg.EngineUsers.count(), n)
	}
	incarnation, err := nextIncarnation(a.path("incarnation"), time.Now())
	if err != nil {
		return nil, err
	}
	sockets, err := socketFolder(a.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	local, err := rotate.Open(a.path("logs", "engines.log"), 16<<20, 4)
	if err != nil {
		return nil, err
	}
	me := &tandemv1.Node{
		Id: creds.Identity.Node, Name: a.cfg.name(), Pool: a.cfg.Pool, Slots: slotsOf(found.Devices, a.cfg.Slots, a.cfg.cores()),
		AgentVersion: a.cfg.Version, Level: schema.Known, LibtorchVersion: found.LibtorchVersion, Incarnation: incarnation,
		Sandbox: confined.Features.Has(), Landlock: int32(confined.Features.Landlock),
	}
	network, err := tunnel.Network()
	if err != nil {
		return nil, err
	}
	n := &node{agent: a, creds: identity.NewLive(a.path("pki"), creds), me: me, local: local, sandbox: confined, groups: groups, children: child.NewStarter()}
	if err := n.listen(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.wire(binary, sockets, network)
	return n, nil
}
