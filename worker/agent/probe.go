package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// missLimit is how many questions in a row a replica may leave without an answer.
const missLimit = 2

// probe asks a replica from time to time whether it lives, until it is gone or counts as hung. A process that hangs
// keeps its slot and its socket takes connections, so nothing else would tell.
func (s *supervisor) probe(e *engine) {
	life, cancel := whileThere(context.Background(), e)
	defer cancel()
	for misses := 0; pause(life, s.cfg.limits.probe) == nil; {
		ctx, cancel := context.WithTimeout(life, s.cfg.limits.probe)
		err := s.ask(ctx, e.socket)
		cancel()
		if err == nil {
			misses = 0
			continue
		}
		if life.Err() != nil {
			return
		}
		misses++
		s.log.Warn().Err(err).Str("engine", e.task.GetId()).Int("misses", misses).Msg("replica does not say that it lives")
		if misses == missLimit {
			s.mu.Lock()
			e.hung = true
			s.mu.Unlock()
			s.wakeUp()
			return
		}
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
