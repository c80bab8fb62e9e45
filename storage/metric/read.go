package metric

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tandem.dev/storage"
	"tandem.dev/storage/layout"
)

// segmentReads is how many segments are read at a time.
const segmentReads = 16

// List lists the segments of a trial, by key.
func List(ctx context.Context, store storage.Store, trial string, kind Kind) ([]Name, error) {
	var names []Name
	for info, err := range store.List(ctx, layout.Metrics(trial, string(kind))) {
		if err != nil {
			return nil, fmt.Errorf("list the metrics of %s: %w", trial, err)
		}
		if n, ok := ParseKey(info.Key); ok {
			names = append(names, n)
		}
	}
	return names, nil
}

// Read reads segments. One that is damaged is left out and counted, with those that were lost before they were stored.
func Read(ctx context.Context, store storage.Store, names []Name) (segments []Segment, lost int64, err error) {
	read := make([]*Segment, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(segmentReads)
	for i, n := range names {
		g.Go(func() error {
			b, err := storage.ReadAll(gctx, store, n.Key, MaxObject)
			if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrSize) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the metrics: %w", err)
			}
			if s, err := Decode(b); err == nil && Key(s.Header) == n.Key {
				read[i] = &s
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	for _, s := range read {
		if s == nil {
			lost++
			continue
		}
		segments, lost = append(segments, *s), lost+s.Lost
	}
	return segments, lost, nil
}
