package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/repeat"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// longestSilence is how long a session may be silent; a coordinator speaks at least every 5 s.
const longestSilence = 16 * time.Second

// session keeps a stream of desired states open with one coordinator after the other.
type session struct {
	node         func() *tandemv1.Node // what it says of itself now
	coordinators *coordinators
	want         func(*tandemv1.SessionResponse) bool
	learned      func(coordinators []string) // the list has changed
	exiles       *exiles
	viewers      *viewers
	keys         func(version int64) // keys_version of the cluster
	clock        *clock
	silence      time.Duration // a session that says nothing for so long is given up
	log          zerolog.Logger
	metrics      *metrics

	repeats repeat.Limiter

	open  atomic.Bool
	first chan struct{} // closed when the first desired state has come
	news  chan struct{} // the node has something new to say of itself
}

// run returns nil when ctx ends, and identity.ErrRemoved when the cluster does not let the node in any more.
func (s *session) run(ctx context.Context) error {
	wait := newBackoff()
	for ctx.Err() == nil {
		client, address := s.coordinators.client()
		began := time.Now()
		heard, err := s.once(ctx, client)
		s.open.Store(false)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errNews) {
			continue
		}
		if connect.CodeOf(err) == connect.CodePermissionDenied {
			return fmt.Errorf("%w: %w", identity.ErrRemoved, say.Advised(err, say.CLI))
		}
		s.coordinators.failed(address)
		if heard {
			wait.reset()
		}
		s.repeats.Warn(s.log, address).Err(err).Str("coordinator", address).Int64("dur_ms", time.Since(began).Milliseconds()).
			Msg("session ended; engines go on; trying the next coordinator")
		if wait.sleep(ctx) != nil {
			return nil
		}
	}
	return nil
}

var (
	errSilence = errors.New("the coordinator was silent for too long")
	errEnd     = errors.New("the coordinator ended the session")
	errNews    = errors.New("the node registers again, for it has something new to say of itself")
)

// once holds one session and tells whether a desired state came.
func (s *session) once(ctx context.Context, client sessionClient) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(s.silence, func() { cancel(errSilence) })
	defer watch.Stop()
	select {
	case <-s.news: // this session tells it
	default:
	}
	go func() { // ends with this session
		select {
		case <-s.news:
			cancel(errNews)
		case <-ctx.Done():
		}
	}()
	stream, err := client.Session(ctx, connect.NewRequest(&tandemv1.SessionRequest{Node: s.node()}))
	if err != nil {
		return false, cause(ctx, err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		watch.Reset(s.silence)
		s.take(stream.Msg(), !heard)
		heard = true
	}
	if err := stream.Err(); err != nil {
		return heard, cause(ctx, err)
	}
	return heard, errEnd
}

// sessionClient is the part of AgentService that a session needs.
type sessionClient interface {
	Session(context.Context, *connect.Request[tandemv1.SessionRequest]) (*connect.ServerStreamForClient[tandemv1.SessionResponse], error)
}

func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return fmt.Errorf("%w: %w", c, err)
	}
	return err
}

// tell has the node register again.
func (s *session) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *session) take(m *tandemv1.SessionResponse, first bool) {
	if !s.want(m) {
		s.log.Debug().Uint64("index", m.GetIndex()).Msg("desired state is older than one seen before; ignored")
	}
	if r := m.GetRemoved(); r != nil {
		s.exiles.put(r.GetNodeIds())
	}
	if v := m.GetViewers(); v != nil {
		s.viewers.put(v.GetTokens())
	}
	s.keys(m.GetKeysVersion())
	s.clock.see(m.GetTime(), time.Now())
	if s.coordinators.learn(m.GetCoordinators()) {
		s.learned(m.GetCoordinators())
	}
	if !first {
		return
	}
	s.open.Store(true)
	s.metrics.sessions.Inc()
	s.log.Info().Uint64("index", m.GetIndex()).Int("engines", len(m.GetEngines())).Msg("session opened")
	select {
	case <-s.first:
	default:
		close(s.first)
	}
}
