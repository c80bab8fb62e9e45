package engine

import (
	"context"
	"io"

	"tandem.dev/storage"
	"tandem.dev/worker/data"
	"tandem.dev/worker/fault"
)

// faultyFeed hits the point data before each batch.
type faultyFeed struct {
	*data.Feed
	step func() int64
}

func (f faultyFeed) Next(ctx context.Context, away func()) (data.Piece, error) {
	fault.Point("data", f.step())
	return f.Feed.Next(ctx, away)
}

// faultyStore hits the point upload before each object that is written.
type faultyStore struct {
	storage.Store
	step func() int64
}

func (f faultyStore) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	fault.Point("upload", f.step())
	return f.Store.Put(ctx, key, r, size)
}
