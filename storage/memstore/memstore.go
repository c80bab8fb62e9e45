package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem.dev/storage"
)

var _ storage.Store = (*Store)(nil)

// Store keeps objects in memory. The zero value is not usable; see New.
type Store struct {
	hook Hook
	now  func() time.Time

	mu      sync.Mutex
	objects map[string]object
	keys    []string // of objects, in order
	ops     int
}

type object struct {
	data []byte
	mod  time.Time
}

// Config of a Store; the zero value is a store without faults.
type Config struct {
	// Hook is asked before every operation; nil lets all pass.
	Hook Hook
	// Now gives the modification times; nil means the time zero, always.
	Now func() time.Time
}

// New makes an empty store.
func New(c Config) *Store {
	if c.Hook == nil {
		c.Hook = func(context.Context, Op) Fault { return Fault{} }
	}
	if c.Now == nil {
		c.Now = func() time.Time { return time.Time{} }
	}
	return &Store{hook: c.Hook, now: c.Now, objects: map[string]object{}}
}

// begin counts the operation, asks the hook and reports a cancelled context.
func (s *Store) begin(ctx context.Context, kind Kind, key string) (Fault, error) {
	s.mu.Lock()
	s.ops++
	op := Op{N: s.ops, Kind: kind, Key: key}
	s.mu.Unlock()
	f := s.hook(ctx, op)
	if err := ctx.Err(); err != nil {
		return f, fmt.Errorf("%s %s: %w", kind, key, err)
	}
	if f.Err != nil && !f.TakeEffect && f.Torn == 0 {
		return f, fmt.Errorf("%s %s: %w", kind, key, f.Err)
	}
	return f, nil
}

// end is the answer after the operation took effect: the planned error, if any.
func (f Fault) end(kind Kind, key string) error {
	if f.Err != nil {
		return fmt.Errorf("%s %s: %w", kind, key, f.Err)
	}
	return nil
}

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	f, err := s.begin(ctx, OpPut, key)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if int64(len(b)) != size {
		return fmt.Errorf("put %s: %w: announced %d bytes, got %d", key, storage.ErrSize, size, len(b))
	}
	s.store(key, f.tear(b))
	return f.end(OpPut, key)
}

// PutIfAbsent implements storage.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if len(b) > storage.MaxCommit {
		return fmt.Errorf("put %s: %w: %d bytes, at most %d can be committed", key, storage.ErrSize, len(b), storage.MaxCommit)
	}
	f, err := s.begin(ctx, OpPutIfAbsent, key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	have, there := s.objects[key]
	if !there {
		s.set(key, f.tear(b))
	}
	s.mu.Unlock()
	if there && !bytes.Equal(have.data, b) {
		return fmt.Errorf("put %s: %w", key, storage.ErrExists)
	}
	return f.end(OpPutIfAbsent, key)
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	o, err := s.look(ctx, OpGet, key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	return io.NopCloser(bytes.NewReader(o.data)), info(key, o), nil
}

// GetRange implements storage.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	o, err := s.look(ctx, OpGetRange, key)
	if err != nil {
		return nil, err
	}
	if off < 0 || n <= 0 || off >= int64(len(o.data)) {
		return nil, fmt.Errorf("get %s: %w: %d bytes from %d, the object has %d", key, storage.ErrSize, n, off, len(o.data))
	}
	end := int64(len(o.data))
	if n < end-off {
		end = off + n
	}
	return io.NopCloser(bytes.NewReader(o.data[off:end])), nil
}

// Head implements storage.Store.
func (s *Store) Head(ctx context.Context, key string) (storage.Info, error) {
	o, err := s.look(ctx, OpHead, key)
	if err != nil {
		return storage.Info{}, err
	}
	return info(key, o), nil
}

// List implements storage.Store. It lists what is there when the iteration begins.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := storage.CheckPrefix(prefix); err != nil {
			yield(storage.Info{}, err)
			return
		}
		f, err := s.begin(ctx, OpList, prefix)
		if err == nil {
			err = f.end(OpList, prefix)
		}
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		for _, i := range s.snapshot(prefix) {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	f, err := s.begin(ctx, OpDelete, key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if at, there := slices.BinarySearch(s.keys, key); there {
		s.keys = slices.Delete(s.keys, at, at+1)
		delete(s.objects, key)
	}
	s.mu.Unlock()
	return f.end(OpDelete, key)
}

func (s *Store) look(ctx context.Context, kind Kind, key string) (object, error) {
	if err := storage.CheckKey(key); err != nil {
		return object{}, err
	}
	f, err := s.begin(ctx, kind, key)
	if err == nil {
		err = f.end(kind, key)
	}
	if err != nil {
		return object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		return object{}, fmt.Errorf("%s %s: %w", kind, key, storage.ErrNotFound)
	}
	return o, nil
}

func (s *Store) store(key string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, b)
}

// set puts a copy of b; the caller holds the lock.
func (s *Store) set(key string, b []byte) {
	if at, there := slices.BinarySearch(s.keys, key); !there {
		s.keys = slices.Insert(s.keys, at, key)
	}
	s.objects[key] = object{data: slices.Clone(b), mod: s.now()}
}

func (s *Store) snapshot(prefix string) []storage.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []storage.Info
	first, _ := slices.BinarySearch(s.keys, prefix)
	for _, k := range s.keys[first:] {
		if !strings.HasPrefix(k, prefix) {
			break
		}
		all = append(all, info(k, s.objects[k]))
	}
	return all
}

func info(key string, o object) storage.Info {
	return storage.Info{Key: key, Size: int64(len(o.data)), ModTime: o.mod}
}
