package consensus

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// asks counts what Raft has been asked and has not answered yet. Raft answers while it runs; what it still holds when it is
// shut down it never answers, and whoever waits for that waits for ever. So the last answer comes before the shutdown.
type asks struct {
	mu     sync.Mutex
	open   int
	closed bool
	idle   chan struct{} // closed when the last one is answered after close
}

// begin counts one more; it says no once close was called.
func (a *asks) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.open++
	return true
}

func (a *asks) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open--; a.open == 0 && a.closed {
		close(a.idle)
	}
}

// close lets nothing more in, and returns a channel that is closed when all is answered.
func (a *asks) close() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed, a.idle = true, make(chan struct{})
	if a.open == 0 {
		close(a.idle)
	}
	return a.idle
}

// await asks Raft for something, waits for its answer, and says whether what was asked for was taken: ErrNotLeader when it
// certainly was not, else ErrUncertain.
func (n *Node) await(ctx context.Context, ask func() raft.Future) error {
	if !n.asks.begin() {
		return errors.Join(ErrNotLeader, raft.ErrRaftShutdown)
	}
	future := ask()
	done := make(chan error, 1)
	go func() {
		defer n.asks.end()
		done <- future.Error()
	}()
	var err error
	select {
	case <-ctx.Done():
		return errors.Join(ErrUncertain, n.Disk(), ctx.Err())
	case err = <-done:
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errors.Join(ErrNotLeader, err) // Raft has not taken it into the log
	}
	return errors.Join(ErrUncertain, err)
}
