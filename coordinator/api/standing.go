package api

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/state"
)

// standing is who has a stream open. A token that is revoked or has ended, and a node that is removed, lose theirs.
type standing struct {
	mu   sync.Mutex
	open map[*guest]bool
}

type guest struct {
	who Principal
	end context.CancelCauseFunc
}

// expired is how long a stream of a token that has ended may go on at most.
const expired = time.Second

// stay makes a context for a stream of p that ends when p may not be here any longer. leave must follow.
func (s *standing) stay(ctx context.Context, p Principal) (_ context.Context, leave func()) {
	ctx, end := context.WithCancelCause(ctx)
	g := &guest{p, end}
	s.mu.Lock()
	s.open[g] = true
	s.mu.Unlock()
	return ctx, func() {
		s.mu.Lock()
		delete(s.open, g)
		s.mu.Unlock()
		end(nil)
	}
}

// dismiss ends the streams of those who may not be here any longer.
func (s *standing) dismiss(v *state.View, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := map[Principal]error{}
	for g := range s.open {
		err, known := why[g.who]
		if !known {
			err = g.who.gone(v, now)
			why[g.who] = err
		}
		if err != nil {
			g.end(err)
		}
	}
}

// gone says why somebody who was let in may not be here any longer.
func (p Principal) gone(v *state.View, now time.Time) error {
	switch {
	case p.Node != "":
		if removed, ok := v.RemovedNode(p.Node); ok {
			return &refusal{connect.CodePermissionDenied, state.WhyRemoved(removed)}
		}
	case p.Token != "":
		switch t, ok := v.Token(p.Token); {
		case !ok:
			return whyRevoked(p.Name)
		case tokenEnded(t, now):
			return whyEnded(t)
		}
	}
	return nil
}

// Run ends the streams of tokens that are revoked or have ended and of nodes that are removed, until ctx ends.
func (a *API) Run(ctx context.Context) error {
	tick := time.NewTicker(expired)
	defer tick.Stop()
	for {
		v := a.deps.State.View()
		tokens, removed := v.AccessChanged()
		a.bearers.learn(v.AllTokens()...)
		a.standing.dismiss(v, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tokens:
		case <-removed:
		case <-tick.C:
		}
	}
}
