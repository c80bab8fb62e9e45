package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	enqueueTimeout = 5 * time.Second
	// attemptTimeout bounds one call of a leader that may be gone.
	attemptTimeout = 3 * time.Second
	firstPause     = 10 * time.Millisecond
	longestPause   = 200 * time.Millisecond
)

// Repeatable says whether proposing a command twice is the same as proposing it once: clients' commands with a
// request id, and those of loops and agents, which are fenced by generations, revisions and identities.
func Repeatable(cmd *tandemv1.Command) bool {
	if cmd.GetRequestId() != "" {
		return true
	}
	switch cmd.GetCommand().(type) {
	case *tandemv1.Command_CreateCluster, *tandemv1.Command_ApplyPlan, *tandemv1.Command_ApplyReports,
		*tandemv1.Command_RegisterNode, *tandemv1.Command_LoseNode, *tandemv1.Command_MarkCheckpoints,
		*tandemv1.Command_ForgetCheckpoints, *tandemv1.Command_ApplyRollout, *tandemv1.Command_PutRendezvous,
		*tandemv1.Command_Expire:
		return true
	}
	return false
}

// Propose has the leader apply a command, wherever it is, and returns its result; a refusal is a result. It looks for
// a leader until ctx or Config.Patience ends. A command that is Repeatable is tried again when its outcome is unknown.
// Errors: ErrNoLeader (not proposed), ErrUncertain, ErrTooLarge, and that of ctx.
func (n *Node) Propose(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	patience, cancel := context.WithTimeout(ctx, n.cfg.Patience)
	defer cancel()
	kind := ErrNoLeader
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		result, err := n.proposeOnce(patience, cmd)
		switch {
		case err == nil:
			return result, nil
		case errors.Is(err, ErrTooLarge):
			return nil, err
		case !errors.Is(err, ErrNotLeader):
			kind = ErrUncertain
			if !Repeatable(cmd) {
				return nil, fmt.Errorf("propose: %w: %w", ErrUncertain, err)
			}
		}
		if wait(patience, pause) != nil {
			return nil, errors.Join(ctx.Err(), fmt.Errorf("propose: %w (last: %w)", kind, err))
		}
	}
}

func (n *Node) proposeOnce(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	if n.IsLeader() {
		return n.ProposeLocal(ctx, cmd)
	}
	id, address := n.Leader()
	if address == "" || id == n.cfg.ID {
		return nil, ErrNotLeader
	}
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return n.forward.Propose(attempt, address, cmd)
}

// ProposeLocal stamps the time, applies the command as leader and returns its result. Errors: ErrNotLeader (not
// proposed), ErrTooLarge (not proposed), ErrUncertain, and that of ctx, which leaves the outcome open too.
func (n *Node) ProposeLocal(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	data, err := proto.Marshal(&tandemv1.Command{
		Time:      timestamppb.Now(),
		RequestId: cmd.GetRequestId(),
		Actor:     cmd.GetActor(),
		Command:   cmd.GetCommand(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode a command: %w", err)
	}
	if len(data) > fsm.CommandLimit {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrTooLarge, len(data), fsm.CommandLimit)
	}
	future := n.raft.ApplyLog(raft.Log{Data: data}, enqueueTimeout)
	if err := await(ctx, future); err != nil {
		return nil, fmt.Errorf("propose as leader: %w", err)
	}
	switch r := future.Response().(type) {
	case *tandemv1.Result:
		return r, nil
	case error:
		return nil, fmt.Errorf("%w: %w", ErrUncertain, r)
	}
	return nil, fmt.Errorf("%w: the state machine gave no result", ErrUncertain)
}

// await waits for a future and says whether what it stood for was taken.
func await(ctx context.Context, future raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	var err error
	select {
	case <-ctx.Done():
		return errors.Join(ErrUncertain, ctx.Err())
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

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
