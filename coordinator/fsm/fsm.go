package fsm

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/hashicorp/raft"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

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
			return &Poison{Index: e.Index, SHA256: format.Digest(e.Data), Err: err}
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
	cmd, err := format.Decode(data)
	if err != nil {
		return nil, err
	}
	result, err := Apply(tx, index, cmd)
	return result, errors.Join(err, tx.Err())
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
	err := format.Restore(f.state, r)
	return errors.Join(err, r.Close())
}

type snapshot struct{ view *state.View }

// Persist writes the snapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := format.Write(sink, s.view); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close a snapshot: %w", err)
	}
	return nil
}

// Release does nothing: a view needs no giving back.
func (s snapshot) Release() {}
