package api

import (
	"context"
	"errors"
	"net"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// Forward calls the leader's PeerService. It implements consensus.Forwarder.
type Forward struct {
	Peer func(address string) tandemv1connect.PeerServiceClient
}

var _ consensus.Forwarder = Forward{}

// Propose implements consensus.Forwarder.
func (f Forward) Propose(ctx context.Context, address string, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	res, err := f.Peer(address).Propose(ctx, connect.NewRequest(&tandemv1.ProposeRequest{Command: cmd}))
	if err != nil {
		return nil, peerError(err)
	}
	return res.Msg.GetResult(), nil
}

// ReadIndex implements consensus.Forwarder.
func (f Forward) ReadIndex(ctx context.Context, address string) (uint64, error) {
	res, err := f.Peer(address).ReadIndex(ctx, connect.NewRequest(&tandemv1.ReadIndexRequest{}))
	if err != nil {
		return 0, peerError(err)
	}
	return res.Msg.GetIndex(), nil
}

// peerError turns the answer of a coordinator back into the sentinels of consensus.
func peerError(err error) error {
	var ce *connect.Error
	if errors.As(err, &ce) {
		switch {
		case ce.Meta().Get(identity.NothingProposed) != "":
			return errors.Join(consensus.ErrNotLeader, err)
		case ce.Code() == connect.CodeInvalidArgument:
			return errors.Join(consensus.ErrInvalid, err)
		case ce.Code() == connect.CodeFailedPrecondition:
			return errors.Join(consensus.ErrLevel, err)
		}
	}
	// A connection that was never made carried no command.
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return errors.Join(consensus.ErrNotLeader, err)
	}
	return err
}
