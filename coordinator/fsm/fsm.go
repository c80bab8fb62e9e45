package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// CommandLimit is the largest encoded command in bytes.
const CommandLimit = 8 << 20

// ErrCorrupt says that an entry of the log or a record of a snapshot cannot be what a coordinator of this version wrote.
var ErrCorrupt = errors.New("corrupt or unknown entry")

// ErrLevel says that an entry or a snapshot needs a higher feature level than this program knows: a newer version applies it.
var ErrLevel = errors.New("this program is too old for the cluster: start a newer version")

// Poison is the error of an entry that cannot be applied. It names the entry, so that it can be quarantined.
type Poison struct {
	// Index of the entry in the log.
	Index uint64
	// SHA256 of its bytes, in hexadecimal.
	SHA256 string
	// Err is why.
	Err error
}

func (p *Poison) Error() string { return fmt.Sprintf("apply entry %d: %v", p.Index, p.Err) }
func (p *Poison) Unwrap() error { return p.Err }

// Panic is the error of a command whose handler panicked, which is a bug.
type Panic struct {
	// Value is what it panicked with.
	Value any
	// Stack is where.
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// FSM feeds Raft's entries to Apply. It implements raft.BatchingFSM.
type FSM struct {
	state  *state.State
	fatal  func(error)
	failed error
}

var _ raft.BatchingFSM = (*FSM)(nil)

// New returns a state machine that writes s. fatal ends the process when an entry cannot be applied; should it return,
// the state stays as it was before the entry and nothing is applied any more.
func New(s *state.State, fatal func(error)) *FSM { return &FSM{state: s, fatal: fatal} }

// Apply applies one entry; the answer is a *tandemv1.Result, or an error when the node must stop.
func (f *FSM) Apply(entry *raft.Log) any { return f.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch applies entries in one transaction: watchers wake once.
func (f *FSM) ApplyBatch(entries []*raft.Log) []any {
	answers := make([]any, len(entries))
	if f.failed == nil {
		f.failed = f.applyAll(entries, answers)
		if f.failed != nil {
			f.fatal(f.failed)
		}
	}
	if f.failed != nil {
		for i := range answers {
			answers[i] = f.failed
		}
	}
	return answers
}

func (f *FSM) applyAll(entries []*raft.Log, answers []any) error {
	tx := f.state.Begin()
	for i, e := range entries {
		if e.Type != raft.LogCommand {
			continue
		}
		result, err := applyEntry(tx, e.Index, e.Data)
		if err != nil {
			tx.Abort()
			return &Poison{Index: e.Index, SHA256: Digest(e.Data), Err: err}
		}
		answers[i] = result
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("apply up to entry %d: %w", entries[len(entries)-1].Index, err)
	}
	return nil
}

// applyEntry applies one entry. A handler that panics has a bug, which is an error like any other: whoever started the
// process must learn which entry it was and what to do.
func applyEntry(tx *state.Tx, index uint64, data []byte) (_ *tandemv1.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Panic{Value: p, Stack: debug.Stack()}
		}
	}()
	cmd, err := Decode(data)
	if err != nil {
		return nil, err
	}
	result, err := Apply(tx, index, cmd)
	return result, errors.Join(err, tx.Err())
}

// Digest names the bytes of an entry: their SHA-256 in hexadecimal.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Decode reads a command. It fails with ErrLevel when it needs a higher feature level than this program knows, and with
// ErrCorrupt when it is too large, torn, of an unknown kind, or has fields that this version does not know: another
// coordinator would act on them. One that is ignorable then loses its kind.
func Decode(data []byte) (*tandemv1.Command, error) {
	if len(data) > CommandLimit {
		return nil, fmt.Errorf("%w: a command of %d bytes, the limit is %d", ErrCorrupt, len(data), CommandLimit)
	}
	cmd := &tandemv1.Command{}
	if err := proto.Unmarshal(data, cmd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if cmd.GetTime() == nil || !cmd.GetTime().IsValid() {
		return nil, fmt.Errorf("%w: a command without a time", ErrCorrupt)
	}
	what := schema.UnknownField(cmd)
	switch {
	case cmd.GetIgnorable() && (what != "" || int(cmd.GetLevel()) > schema.Known):
		return &tandemv1.Command{Time: cmd.GetTime(), Actor: cmd.GetActor(), Ignorable: true}, nil
	case int(cmd.GetLevel()) > schema.Known:
		return nil, fmt.Errorf("%w: it knows feature level %d, and a command needs %d", ErrLevel, schema.Known, cmd.GetLevel())
	case what != "":
		return nil, fmt.Errorf("%w: unknown %s", ErrCorrupt, what)
	}
	if cmd.GetCommand() == nil && !cmd.GetIgnorable() {
		return nil, fmt.Errorf("%w: a command of no kind", ErrCorrupt)
	}
	return cmd, nil
}

// Snapshot captures the state; writing it out happens beside Apply.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	return snapshot{view: f.state.View()}, nil
}

// Restore replaces the state by a snapshot; after an error it is what it was.
func (f *FSM) Restore(r io.ReadCloser) error {
	err := Restore(f.state, r)
	return errors.Join(err, r.Close())
}

type snapshot struct{ view *state.View }

// Persist writes the snapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := Write(sink, s.view); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close a snapshot: %w", err)
	}
	return nil
}

// Release does nothing: a view needs no giving back.
func (s snapshot) Release() {}
