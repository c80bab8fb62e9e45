package engine

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/worker/elastic"
)

// TestProbePeers dials machines that answer, refuse, come back, and are gone.
func TestProbePeers(t *testing.T) {
	for name, tc := range map[string]struct {
		abort   time.Duration // the group is given up then; 0: it is not
		takes   time.Duration
		lives   bool // the engines are there
		missing []string
	}{
		"to the end":        {0, probePatience, true, []string{"lost", "route", "there, filtered", "there, filtered"}},
		"given up late":     {2 * time.Second, 2 * time.Second, true, []string{"lost", "route", "slow", "there, filtered"}},
		"given up soon":     {time.Second, time.Second, true, nil},
		"one may have died": {0, probePatience, false, []string{"lost", "route", "there, filtered"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.abort > 0 {
					time.AfterFunc(tc.abort, cancel)
				}
				began := time.Now()
				dial := func(ctx context.Context, _, address string) (net.Conn, error) {
					here, there := net.Pipe()
					_ = there.Close()
					switch {
					case address == "there", address == "slow" && time.Since(began) >= 3*time.Second:
						return here, nil
					case address == "refuses":
						return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
					case address == "unnamed":
						return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}
					case address == "route", address == "slow":
						return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
					}
					<-ctx.Done()
					return nil, errors.Join(errors.New("dial"), ctx.Err())
				}
				var peers []elastic.Peer
				for _, p := range []string{"there", "refuses", "unnamed", "lost", "route", "slow"} {
					peers = append(peers, elastic.Peer{Node: p, Address: p})
				}
				for _, engine := range []string{"there", "lost", "refuses"} { // a firewall drops, or refuses; so does an engine that has died
					peers = append(peers, elastic.Peer{Node: "there", Address: "there", Engine: engine})
				}
				var missing []string
				for _, p := range probePeers(ctx, peers, dial, tc.lives) {
					if p.Filtered {
						p.Node += ", filtered"
					}
					missing = append(missing, p.Node)
				}
				if took := time.Since(began); !slices.Equal(missing, tc.missing) || took != tc.takes {
					t.Errorf("%v are missing after %v, want %v after %v", missing, took, tc.missing, tc.takes)
				}
			})
		})
	}
}

// TestProbeListener: whoever probes is answered, until it is closed.
func TestProbeListener(t *testing.T) {
	l, err := probeListener("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	peers := []elastic.Peer{{Node: "a", Address: l.Addr().String(), Engine: l.Addr().String()}}
	for range 3 {
		if missing := probePeers(t.Context(), peers, (&net.Dialer{}).DialContext, true); len(missing) > 0 {
			t.Errorf("not reached: %v", missing)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("it answers, though it was closed")
	}
}
