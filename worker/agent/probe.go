package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// missLimit is how many questions in a row an engine may leave without an answer.
const missLimit = 2

// probe asks from time to time whether an engine lives, until it is gone or counts as hung. A process that hangs
// keeps its slot and its socket takes connections, so nothing else would tell.
func (s *supervisor) probe(e *engine, ask func(context.Context) error) {
	life, cancel := whileThere(context.Background(), e)
	defer cancel()
	for misses := 0; sleep(life, s.cfg.limits.probe) == nil; {
		ctx, cancel := context.WithTimeout(life, s.cfg.limits.probe)
		err := ask(ctx)
		cancel()
		if err == nil {
			misses = 0
			continue
		}
		if life.Err() != nil {
			return
		}
		misses++
		s.log.Warn().Err(err).Str("engine", e.task.GetId()).Int("misses", misses).Msg("engine does not say that it lives")
		if misses == missLimit {
			s.mu.Lock()
			e.hung = true
			s.mu.Unlock()
			s.wakeUp()
			return
		}
	}
}

// listen asks whether a member gave a sign of life since it was asked last.
func (s *supervisor) listen(e *engine) func(context.Context) error {
	return func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !e.heard {
			return errors.New("no sign of life")
		}
		e.heard = false
		return nil
	}
}

// askLive asks the replica behind a socket whether it lives.
func askLive(ctx context.Context, socket string) error {
	var dialer net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://replica/v2/health/live", nil)
	if err != nil {
		return fmt.Errorf("ask whether it lives: %w", err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask whether it lives: %w", err)
	}
	_ = res.Body.Close() // its status says all
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask whether it lives: status %d", res.StatusCode)
	}
	return nil
}
