package memstore

import (
	"context"
	"fmt"
	"slices"

	"tandem.dev/storage"
)

// Kind names an operation of the contract.
type Kind string

// The operations that a Hook sees.
const (
	OpPut         Kind = "put"
	OpPutIfAbsent Kind = "put-if-absent"
	OpGet         Kind = "get"
	OpGetRange    Kind = "get-range"
	OpHead        Kind = "head"
	OpList        Kind = "list"
	OpDelete      Kind = "delete"
)

// Op is one operation about to happen. N counts all operations of the store from 1.
type Op struct {
	N    int
	Kind Kind
	Key  string
}

// Fault says how an operation goes wrong; the zero value lets it succeed.
type Fault struct {
	// Err is what the caller gets. Without it a torn write looks like a success.
	Err error
	// TakeEffect lets the operation happen although the caller gets Err: a lost answer.
	TakeEffect bool
	// Torn, if positive, cuts a write to its first Torn bytes and stores those.
	Torn int
}

func (f Fault) tear(b []byte) []byte {
	if f.Torn > 0 && f.Torn < len(b) {
		return b[:f.Torn]
	}
	return b
}

// Hook decides how an operation goes. It may block, for latency, and is called without
// any lock held.
type Hook func(ctx context.Context, op Op) Fault

// FailNth makes the n-th operation of the store (from 1) fail with err and without effect.
func FailNth(n int, err error) Hook {
	return func(_ context.Context, op Op) Fault {
		if op.N == n {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// Ops returns how many operations the store has been asked for.
func (s *Store) Ops() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// Keys lists all keys, sorted, without asking the hook.
func (s *Store) Keys() []string {
	var keys []string
	for _, i := range s.snapshot("") {
		keys = append(keys, i.Key)
	}
	return keys
}

// Bytes returns a copy of an object, without asking the hook.
func (s *Store) Bytes(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		return nil, fmt.Errorf("bytes of %s: %w", key, storage.ErrNotFound)
	}
	return slices.Clone(o.data), nil
}

// Overwrite replaces an object, or makes it, without asking the hook.
func (s *Store) Overwrite(key string, b []byte) { s.store(key, b) }

// Flip inverts one bit of an object, counted from bit 0 of byte 0. A second call undoes it.
func (s *Store) Flip(key string, bit int) error {
	b, err := s.Bytes(key)
	if err != nil {
		return err
	}
	if bit < 0 || bit >= 8*len(b) {
		return fmt.Errorf("flip bit %d of %s: it has %d", bit, key, 8*len(b))
	}
	b[bit/8] ^= 1 << (bit % 8)
	s.Overwrite(key, b)
	return nil
}
