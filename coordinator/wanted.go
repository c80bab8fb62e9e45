package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// wantedPause is the time between two questions to the others while there is no leader.
	wantedPause = 2 * time.Second
	// lastWords is how long a removed coordinator stays for Raft to take it out, and for who asked for it to be answered.
	lastWords = 3 * time.Second
)

// wanted fails with identity.ErrRemoved when an operator has removed this coordinator, and says what to do next. One that was there when it was removed reads
// it in its own state. One that was down, or cut off, cannot: its log ends before, and its own configuration says that it has a
// vote. While it knows no leader it asks the others, who refuse its certificate.
func (c *Coordinator) wanted(ctx context.Context) error {
	self := c.creds.Identity.Node
	for {
		v := c.state.View()
		if removed, ok := v.RemovedNode(self); ok {
			c.awaitRemoval(ctx)
			return fmt.Errorf("%w: %s", identity.ErrRemoved, say.Clause(state.WhyRemoved(removed), say.CLI))
		}
		if _, leader := c.node.Leader(); leader == "" {
			if err := c.askIfWanted(ctx); err != nil {
				return err
			}
		}
		waiting, cancel := context.WithTimeout(ctx, wantedPause)
		_ = c.state.Wait(waiting, v.Index()) // a change and the end of the time are both a reason to look again
		cancel()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// awaitRemoval waits until Raft has taken this coordinator out, a while at most.
func (c *Coordinator) awaitRemoval(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	self := c.creds.Identity.Node
	for slices.ContainsFunc(c.node.Peers(), func(p consensus.Peer) bool { return p.ID == self }) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(logPause):
		}
	}
	// Who asked this coordinator for its removal is still to be answered.
	select {
	case <-ctx.Done():
	case <-time.After(10 * logPause):
	}
}

// askIfWanted asks the others whether they know this coordinator. An error is final: it was removed.
func (c *Coordinator) askIfWanted(ctx context.Context) error {
	for _, address := range union(c.others(), c.knownPeers().Coordinators) {
		if address == c.port.address {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, wantedPause)
		_, err := c.peerClient(address).Share(asking, connect.NewRequest(&tandemv1.ShareRequest{}))
		cancel()
		if ce := (*connect.Error)(nil); errors.As(err, &ce) && ce.Code() == connect.CodePermissionDenied {
			if advised := (*connect.Error)(nil); errors.As(say.Advised(err, say.CLI), &advised) {
				ce = advised
			}
			return fmt.Errorf("%w: %s", identity.ErrRemoved, ce.Message())
		}
	}
	return nil
}
