package state

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// EventLimit is how many events are kept; the oldest go first.
const EventLimit = 10_000

// State is the current state. Any number of goroutines may read; one may write at a time.
type State struct {
	mu      sync.Mutex
	db      *memdb.MemDB
	index   uint64
	changed chan struct{} // closed and replaced when index grows or the state is replaced
}

// New returns an empty state at index 0.
func New() *State {
	return &State{db: newDB(), changed: make(chan struct{})}
}

func newDB() *memdb.MemDB {
	db, err := memdb.NewMemDB(tables())
	if err != nil {
		panic(fmt.Sprintf("state: the schema of the tables is wrong: %v", err)) // a mistake in table.go, found by any test
	}
	return db
}

// View returns the state as it is now.
func (s *State) View() *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &View{txn: s.db.Txn(false)}
}

// Index returns the Raft index of the last command applied.
func (s *State) Index() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index
}

// Wait returns nil when Index is greater than after, or the error of ctx when that ends first.
func (s *State) Wait(ctx context.Context, after uint64) error {
	for {
		s.mu.Lock()
		index, changed := s.index, s.changed
		s.mu.Unlock()
		if index > after {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Begin opens the write transaction; it waits for one that is open. It must be ended by Commit or Abort.
func (s *State) Begin() *Tx {
	s.mu.Lock()
	db := s.db
	s.mu.Unlock()
	txn := db.Txn(true)
	tx := &Tx{View: View{txn: txn}, state: s}
	tx.meta = *tx.View.meta()
	return tx
}

// Replace begins from nothing: the returned transaction writes into an empty state, which takes the place of this
// one when it is committed.
func (s *State) Replace() *Tx {
	db := newDB()
	return &Tx{View: View{txn: db.Txn(true)}, state: s, replace: db}
}

// Rehearse is Begin on a copy of the state: what is written there is seen by nobody else, and must be dropped with Abort.
// It waits for no other writer.
func (s *State) Rehearse() *Tx {
	s.mu.Lock()
	db := s.db
	s.mu.Unlock()
	tx := &Tx{View: View{txn: db.Snapshot().Txn(true)}}
	tx.meta = *tx.View.meta()
	return tx
}

// View is the state at one index, all of it or what is seen from one project (In). It is safe for concurrent use and never changes.
type View struct {
	txn     *memdb.Txn
	project string // empty: all
}

// Index returns the Raft index of the last command in the view.
func (v *View) Index() uint64 { return v.meta().index }

// meta is the one row that is not in a snapshot: it follows from the others and the header.
type meta struct {
	index  uint64
	events int
}

func (v *View) meta() *meta {
	raw, err := v.txn.First(metaTable, "id", "")
	if err != nil || raw == nil {
		return &meta{}
	}
	return raw.(*meta)
}

// Tx is the write transaction. Its View shows what it has written so far.
type Tx struct {
	View
	state   *State
	replace *memdb.MemDB
	meta    meta
	err     error
}

// SetIndex says at which Raft index the following changes are made.
func (t *Tx) SetIndex(index uint64) { t.meta.index = index }

// Index returns what SetIndex has set.
func (t *Tx) Index() uint64 { return t.meta.index }

// Put inserts a row or replaces the one of the same identity, and notes the index in its modified_index.
// The row belongs to the state from then on. A failure comes out of Commit.
func (t *Tx) Put(row proto.Message) {
	setModifiedIndex(row, t.meta.index)
	t.Load(row)
}

// Load is Put for a row that comes out of a snapshot: it is kept as it is.
func (t *Tx) Load(row proto.Message) {
	table, ok := tableOf(row)
	if !ok {
		t.fail(fmt.Errorf("put %s: the state has no table for it", row.ProtoReflect().Descriptor().Name()))
		return
	}
	known := false
	if table == eventTable {
		old, err := t.txn.First(table, "id", RowID(row))
		t.fail(err)
		known = old != nil
	}
	t.fail(t.txn.Insert(table, row))
	if table == eventTable && !known {
		t.meta.events++
		t.trimEvents()
	}
}

// Delete removes a row; one that does not exist is not an error.
func (t *Tx) Delete(row proto.Message) {
	table, ok := tableOf(row)
	if !ok {
		t.fail(fmt.Errorf("delete %s: the state has no table for it", row.ProtoReflect().Descriptor().Name()))
		return
	}
	n, err := t.txn.DeleteAll(table, "id", RowID(row))
	t.fail(err)
	if table == eventTable {
		t.meta.events -= n
	}
}

func (t *Tx) trimEvents() {
	for t.meta.events > EventLimit {
		raw, err := t.txn.First(eventTable, "id_prefix", "")
		if err != nil || raw == nil {
			t.fail(fmt.Errorf("trim events: %w", err))
			return
		}
		t.Delete(raw.(proto.Message))
	}
}

// Err returns the first failure of a Put or Delete, which Commit will return.
func (t *Tx) Err() error { return t.err }

func (t *Tx) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}

// Commit makes the changes visible and wakes who waits. After an error nothing has changed and the state must not
// be written any more.
func (t *Tx) Commit() error {
	m := t.meta
	t.fail(t.txn.Insert(metaTable, &m))
	if t.err != nil {
		t.txn.Abort()
		return t.err
	}
	s := t.state
	s.mu.Lock()
	defer s.mu.Unlock()
	t.txn.Commit()
	if t.replace != nil {
		s.db = t.replace
	}
	s.index = m.index
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Abort drops the changes.
func (t *Tx) Abort() { t.txn.Abort() }

// Shallow returns a copy of a row whose own fields can be set and put; what lies within lists, maps and messages is the row's.
func Shallow[T protoadapt.MessageV2](row T) T {
	to := row.ProtoReflect().New()
	row.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(f, v)
		return true
	})
	return to.Interface().(T)
}

// Clone returns a deep copy of a row, to change and put.
func Clone[T protoadapt.MessageV2](row T) T { return proto.Clone(row).(T) }
