package main

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
	// knockPatience is how long a node has to answer. Linux sends the first packet of a connection again after 1 s and 3 s.
	knockPatience = 4 * time.Second
	// knockAgain is the pause before the next attempt when the last failed at once.
	knockAgain = 250 * time.Millisecond
	// knockDoubt: when the group is given up meanwhile, a node that has not answered for so long counts as one that is not reached:
	// two packets had no answer. The rank that gave up first may have seen only a part of what is cut.
	knockDoubt = 1500 * time.Millisecond
)

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// knock finds out, before ranks on several nodes connect with each other, which nodes this one does not reach. Libraries that
// exchange values wait for them for minutes and do not say for whom. It returns when all have answered, had their time, or ctx ends.
func knock(ctx context.Context, peers []elastic.Peer, dial dialer) (missing []elastic.Peer) {
	silent := make([]bool, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() { silent[i] = !answers(ctx, p.Address, dial) })
	}
	wg.Wait()
	for i, p := range peers {
		if silent[i] {
			missing = append(missing, p)
		}
	}
	return missing
}

// answers says whether a machine can be reached, as far as that is known when it returns.
func answers(ctx context.Context, address string, dial dialer) bool {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, knockPatience)
	defer cancel()
	for {
		conn, err := dial(within, "tcp", address)
		if err == nil {
			_ = conn.Close()
			return true
		}
		if within.Err() == nil && !cutOff(err) {
			return true // a machine that refuses is there; another error is no news of the network
		}
		select {
		case <-within.Done():
			return ctx.Err() != nil && time.Since(began) < knockDoubt
		case <-time.After(knockAgain):
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
