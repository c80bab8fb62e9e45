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
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	enqueueTimeout = 5 * time.Second
	// attemptTimeout bounds one call of a leader that may be gone.
	attemptTimeout = 3 * time.Second
	firstPause     = 10 * time.Millisecond
	longestPause   = 200 * time.Millisecond
)

// Propose has the leader apply a command, wherever it is, and returns its result; a refusal is a result. It looks for
// a leader until ctx or Config.Patience ends. A command that is repeatable (schema.Repeatable) is tried again when its outcome is unknown.
// Errors: ErrNoLeader (not proposed), ErrUncertain, ErrInvalid, ErrLevel and ErrDisk (not proposed), and that of ctx.
func (n *Node) Propose(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	patience, cancel := n.patience(ctx)
	defer cancel()
	kind := ErrNoLeader
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		result, err := n.proposeOnce(patience, cmd)
		switch {
		case err == nil:
			return result, nil
		case errors.Is(err, ErrInvalid), errors.Is(err, ErrLevel):
			return nil, err
		case errors.Is(err, ErrDisk) && !errors.Is(kind, ErrUncertain): // what was tried before is uncertain
			return nil, fmt.Errorf("propose: %w", err)
		case !errors.Is(err, ErrNotLeader):
			kind = ErrUncertain
			if !schema.Repeatable(cmd) {
				return nil, fmt.Errorf("propose: %w: %w", ErrUncertain, err)
			}
		}
		if sleep(patience, pause) != nil {
			return nil, errors.Join(ctx.Err(), fmt.Errorf("propose: %w (last: %w)", kind, err))
		}
	}
}

func (n *Node) proposeOnce(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	if n.IsLeader() {
		return n.ProposeLocal(ctx, cmd)
	}
	if err := n.Disk(); err != nil {
		return nil, err // it would learn no result
	}
	id, address := n.Leader()
	if address == "" || id == n.cfg.ID {
		return nil, ErrNotLeader
	}
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return n.forward.Propose(attempt, address, cmd)
}

// ProposeLocal stamps the time, checks that the command can be applied, applies it as leader and returns its result. Errors:
// ErrNotLeader, ErrInvalid, ErrLevel and ErrDisk (not proposed), ErrUncertain, and that of ctx, which leaves the outcome open too.
func (n *Node) ProposeLocal(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	if !n.IsLeader() {
		return nil, ErrNotLeader
	}
	if err := n.Disk(); err != nil {
		return nil, err
	}
	stamped := &tandemv1.Command{}
	proto.Merge(stamped, cmd) // with what is unknown in it, so that the check finds it
	stamped.Time = timestamppb.Now()
	if err := n.stampLevel(stamped); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(stamped)
	if err != nil {
		return nil, fmt.Errorf("encode a command: %w", err)
	}
	// Here, where the bytes are those of the log: an entry that cannot be applied would end all coordinators.
	if err := fsm.Check(n.state, data); err != nil {
		if p := (*fsm.Panic)(nil); errors.As(err, &p) {
			n.log.Error().Err(err).Str("stack", string(p.Stack)).Msg("a command was refused since applying it fails: this is a bug")
		}
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var future raft.ApplyFuture
	begin := time.Now()
	err = n.await(ctx, func() raft.Future {
		future = n.raft.ApplyLog(raft.Log{Data: data}, enqueueTimeout)
		return future
	})
	if err != nil {
		return nil, fmt.Errorf("propose as leader: %w", err)
	}
	if n.committed != nil {
		n.committed(time.Since(begin))
	}
	switch r := future.Response().(type) {
	case *tandemv1.Result:
		return r, nil
	case error:
		return nil, fmt.Errorf("%w: %w", ErrUncertain, r)
	}
	return nil, fmt.Errorf("%w: the state machine gave no result", ErrUncertain)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
