package board

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

const (
	shareSoon    = 200 * time.Millisecond // progress waits so long for more of it
	shareBeat    = 2 * time.Second        // sessions are told so often
	shareAnyway  = 10 * time.Second       // and so often something, be it nothing but the time: see Clocks
	shareTimeout = time.Second
	boardMemory  = 5 * time.Minute // what was heard longer ago is forgotten
)

// SharerDeps of a Sharer.
type SharerDeps struct {
	Board *Board
	State *state.State
	// Others are host:port of the other coordinators.
	Others func() []string
	// Peer calls one of them.
	Peer func(address string) tandemv1connect.PeerServiceClient
	Log  zerolog.Logger
}

// Sharer tells the other coordinators what this one hears from agents.
type Sharer struct {
	deps SharerDeps
	wg   sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // addresses that have not answered yet
}

// NewSharer returns a Sharer.
func NewSharer(deps SharerDeps) *Sharer { return &Sharer{deps: deps, busy: map[string]bool{}} }

// Run shares until ctx ends: progress soon after it came, sessions every two seconds.
func (s *Sharer) Run(ctx context.Context) error {
	beat := time.NewTicker(shareBeat)
	defer beat.Stop()
	defer s.wg.Wait()
	var shared time.Time
	for {
		anyway := time.Since(shared) >= shareAnyway
		select {
		case <-ctx.Done():
			return nil
		case <-s.deps.Board.dirty:
			select { // a little patience puts the progress of all trials in one message
			case <-ctx.Done():
				return nil
			case <-time.After(shareSoon):
			}
		case now := <-beat.C:
			s.forget(now)
		}
		if s.share(ctx, anyway) {
			shared = time.Now()
		}
	}
}

// share tells the others without waiting for them. One that has not answered the last time is left out: it is down, or
// will hear the next, which says it all again. It returns false when there was nothing to tell.
func (s *Sharer) share(ctx context.Context, anyway bool) bool {
	req := schema.Within(s.deps.Board.take(), s.deps.State.View().Level())
	if len(req.GetProgress())+len(req.GetHeard()) == 0 && !anyway {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, address := range s.deps.Others() {
		if s.busy[address] {
			continue
		}
		s.busy[address] = true
		s.wg.Go(func() { s.tell(ctx, address, req) })
	}
	return true
}

func (s *Sharer) tell(ctx context.Context, address string, req *tandemv1.ShareRequest) {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	if _, err := s.deps.Peer(address).Share(ctx, connect.NewRequest(req)); err != nil {
		s.deps.Log.Debug().Err(err).Str("peer", address).Msg("a peer did not take what was shared")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, address)
}

// forget keeps the board as small as the state.
func (s *Sharer) forget(now time.Time) {
	running := map[string]bool{}
	for _, a := range s.deps.State.View().Allocations() {
		running[a.GetTrialId()] = true
	}
	s.deps.Board.Keep(running, now.Add(-boardMemory))
}
