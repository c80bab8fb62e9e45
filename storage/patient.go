package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Patient returns a store whose denials are ErrUnavailable: for who holds the keys of a whole cluster, keys that the store refuses are an
// outage, which ends when the cluster is told others. What one may not do by a policy of ours is not its business, and stays ErrDenied.
func Patient(s Store) Store { return patient{s} }

type patient struct{ Store }

// waited is an error of the store as who waits for it gets it. It does not match ErrDenied any more.
func waited(err error) error {
	if !errors.Is(err, ErrDenied) {
		return err
	}
	return fmt.Errorf("%w: the store refuses the keys of this cluster; if they were changed there, tell the cluster with `tandem store rotate`: %s",
		ErrUnavailable, err.Error())
}

// Put implements Store.
func (p patient) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	return waited(p.Store.Put(ctx, key, r, size))
}

// PutIfAbsent implements Store.
func (p patient) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	return waited(p.Store.PutIfAbsent(ctx, key, b))
}

// Get implements Store.
func (p patient) Get(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	r, info, err := p.Store.Get(ctx, key)
	return r, info, waited(err)
}

// GetRange implements Store.
func (p patient) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r, err := p.Store.GetRange(ctx, key, off, n)
	return r, waited(err)
}

// Head implements Store.
func (p patient) Head(ctx context.Context, key string) (Info, error) {
	info, err := p.Store.Head(ctx, key)
	return info, waited(err)
}

// List implements Store.
func (p patient) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for info, err := range p.Store.List(ctx, prefix) {
			if !yield(info, waited(err)) {
				return
			}
		}
	}
}

// Delete implements Store.
func (p patient) Delete(ctx context.Context, key string) error {
	return waited(p.Store.Delete(ctx, key))
}
