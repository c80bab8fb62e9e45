package engine

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"tandem.dev/worker/elastic"
)

const (
	// probePatience is how long a node has to answer. Linux sends the first packet of a connection again after 1 s and 3 s.
	probePatience = 4 * time.Second
	// probePause is the pause before the next attempt when the last failed at once.
	probePause = 250 * time.Millisecond
	// probeDoubt: when the group is given up meanwhile, a node that has not answered for so long counts as one that is not reached:
	// two packets had no answer. The rank that gave up first may have seen only a part of what is cut.
	probeDoubt = 1500 * time.Millisecond
)

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// probePeers finds out, before ranks on several nodes connect with each other, which nodes this one does not reach. Libraries that
// exchange values wait for them for minutes and do not say for whom. It probes two ports of each: that of the agent, whose port
// operators have opened, and that of an engine, whose port the system chose as it chooses those of the ranks. lives: those engines are
// there, as far as the coordinator knows, so that one that refuses is behind a firewall that refuses. It returns when all have answered,
// had their time, or ctx ends.
func probePeers(ctx context.Context, peers []elastic.Peer, dial dialer, lives bool) (missing []elastic.Unreached) {
	agents, engines := make([]bool, len(peers)), make([]bool, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() { agents[i] = answers(ctx, p.Address, dial, true) })
		wg.Go(func() { engines[i] = p.Engine == "" || answers(ctx, p.Engine, dial, !lives) })
	}
	wg.Wait()
	for i, p := range peers {
		if !agents[i] || !engines[i] {
			missing = append(missing, elastic.Unreached{Peer: p, Filtered: agents[i]})
		}
	}
	return missing
}

// probeListener is where an engine answers probes, until it is closed. There is no more to it than that it can be connected with.
func probeListener(host string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	go func() { // ends when the listener is closed
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_ = conn.Close()
			}
		}
	}()
	return l, nil
}

// answers says whether a port can be reached, as far as that is known when it returns. refused: a machine that refuses is there too.
// Else it counts as filtered when it still refuses at the end, for some firewalls refuse; an engine that has died refuses as well, but
// then the group that it was to be in is given up before.
func answers(ctx context.Context, address string, dial dialer, refused bool) bool {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	for {
		conn, err := dial(within, "tcp", address)
		if err == nil {
			_ = conn.Close()
			return true
		}
		refuses := errors.Is(err, syscall.ECONNREFUSED)
		if within.Err() == nil && !cutOff(err) && (refused || !refuses) {
			return true // another error is no news of the network
		}
		select {
		case <-within.Done():
			return ctx.Err() != nil && (refuses || time.Since(began) < probeDoubt)
		case <-time.After(probePause):
		}
	}
}

// cutOff says whether a connection failed on the way, and not at its ends.
func cutOff(err error) bool {
	var e net.Error
	if errors.As(err, &e) && e.Timeout() {
		return true
	}
	var number syscall.Errno
	return errors.As(err, &number) && slices.Contains([]syscall.Errno{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN,
		syscall.EINVAL, syscall.EACCES, syscall.EPERM, // routes and filters that drop what is sent
	}, number)
}
