package data

import (
	"context"
	"fmt"

	"tandem.dev/storage"
)

// Slices reads the rows of a source in their own order, as an evaluation does.
type Slices struct {
	source Source
	batch  Batch
	rows   []int32
}

// NewSlices returns the slices of source.
func NewSlices(source Source) *Slices { return &Slices{source: source} }

// Len is the number of rows.
func (s *Slices) Len() int { return s.source.Len() }

// Read returns the rows [lo, hi), valid until the next call. It waits for a store that is
// unavailable; away is called once to tell so.
func (s *Slices) Read(ctx context.Context, lo, hi int, away func()) (Batch, error) {
	s.rows = s.rows[:0]
	for row := lo; row < hi; row++ {
		s.rows = append(s.rows, int32(row))
	}
	err := storage.Persist(ctx, func() error { return s.source.Gather(ctx, &s.batch, s.rows) }, func(error) { away() })
	if err != nil {
		return Batch{}, fmt.Errorf("rows %d to %d: %w", lo, hi, err)
	}
	return s.batch, nil
}
