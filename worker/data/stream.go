package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"golang.org/x/sync/errgroup"

	"tandem.dev/storage/dataset"
)

const (
	fetches = 4  // shards that are read whole at a time
	reads   = 16 // rows that are read from the store at a time
)

// Stream is a split whose rows are read when they are asked for. Each shard is read from
// the store once as a whole, when its first row is asked for, and its sha256 is checked. If
// the cache has room it is kept there; if not, its rows are read one by one from the store.
// DESIGN.md says why.
type Stream struct {
	set    *dataset.Dataset
	name   string
	rows   int
	cache  Shards             // or nil
	full   func(split string) // called once when the first shard finds no room; may be nil
	shards []streamed
	parts  []dataset.RowBuffer // of Gather
	told   bool
}

// streamed is one shard of a Stream.
type streamed struct {
	dataset.Shard
	first int           // row
	rows  *dataset.Rows // nil until the shard is verified
	file  *os.File      // nil if it is not cached
}

// run is rows of one shard that follow one another.
type run struct {
	shard  int
	lo, hi int64
}

// newStream opens a split of d.
func newStream(d *dataset.Dataset, split dataset.Split, cache Shards, full func(split string)) *Stream {
	s := &Stream{set: d, name: split.Name, rows: int(split.Rows), cache: cache, full: full}
	first := 0
	for _, sh := range split.Shards {
		s.shards = append(s.shards, streamed{Shard: sh, first: first})
		first += int(sh.Rows)
	}
	return s
}

// Len implements Source.
func (s *Stream) Len() int { return s.rows }

// Gather implements Source. What was fetched stays if it fails.
func (s *Stream) Gather(ctx context.Context, dst *Batch, rows []int32) error {
	runs, err := s.runs(rows)
	if err != nil {
		return err
	}
	if err := s.fetch(ctx, runs); err != nil {
		return err
	}
	for len(s.parts) < len(runs) {
		s.parts = append(s.parts, dataset.RowBuffer{})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(reads)
	for i, r := range runs {
		if sh := &s.shards[r.shard]; sh.file == nil {
			g.Go(func() error { return sh.rows.From(s.set.Remote(gctx, sh.Shard)).Read(&s.parts[i], r.lo, r.hi) })
		} else if err := sh.rows.Read(&s.parts[i], r.lo, r.hi); err != nil {
			return errors.Join(err, g.Wait())
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return s.join(dst, s.parts[:len(runs)])
}

// runs finds where the rows lie.
func (s *Stream) runs(rows []int32) ([]run, error) {
	var runs []run
	for _, row := range rows {
		if row < 0 || int(row) >= s.rows {
			return nil, fmt.Errorf("split %s: no row %d in %d", s.name, row, s.rows)
		}
		i := sort.Search(len(s.shards), func(i int) bool { return s.shards[i].first > int(row) }) - 1
		at := int64(int(row) - s.shards[i].first)
		if n := len(runs); n > 0 && runs[n-1].shard == i && runs[n-1].hi == at {
			runs[n-1].hi++
			continue
		}
		runs = append(runs, run{i, at, at + 1})
	}
	return runs, nil
}

// fetch makes sure that the shards of the runs are verified.
func (s *Stream) fetch(ctx context.Context, runs []run) error {
	var g errgroup.Group // one that fails ends no other: what was fetched stays
	g.SetLimit(fetches)
	begun := map[int]bool{}
	for _, r := range runs {
		sh := &s.shards[r.shard]
		if begun[r.shard] || sh.rows != nil { // in this order: what was begun is written now
			continue
		}
		begun[r.shard] = true
		g.Go(func() error { return s.get(ctx, sh) })
	}
	err := g.Wait()
	for i := range begun {
		if s.shards[i].rows != nil && s.shards[i].file == nil && !s.told {
			s.told = true
			if s.full != nil {
				s.full(s.name)
			}
		}
	}
	return err
}

// get verifies a shard and keeps it if there is room.
func (s *Stream) get(ctx context.Context, sh *streamed) error {
	open := func() (io.ReadCloser, error) { return s.set.Object(ctx, sh.Shard) }
	var f *os.File
	err := ErrNoRoom
	if s.cache != nil {
		f, err = s.cache.File(ctx, sh.Shard, open)
	}
	if errors.Is(err, ErrNoRoom) {
		if err := verify(sh.Shard, open, io.Discard); err != nil {
			return err
		}
		sh.rows, err = s.set.Manifest.Rows(s.set.Remote(ctx, sh.Shard), sh.Shard)
		return err
	}
	if err != nil {
		return err
	}
	rows, err := s.set.Manifest.Rows(f, sh.Shard)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	sh.file, sh.rows = f, rows
	return nil
}

// join puts the parts together and makes of them what the engine takes.
func (s *Stream) join(dst *Batch, parts []dataset.RowBuffer) error {
	m := s.set.Manifest
	*dst = Batch{Shape: m.Shape, X: dst.X[:0], Labels: dst.Labels[:0], Targets: dst.Targets[:0]}
	for i := range parts {
		t := &parts[i]
		dst.Rows += t.Rows
		if m.Task == dataset.TaskLanguage {
			dst.unfold(t.Text, t.FeatureDim)
			continue
		}
		dst.X, dst.Labels, dst.Targets = append(dst.X, t.Features...), append(dst.Labels, t.Labels...), append(dst.Targets, t.Targets...)
	}
	if m.Task == dataset.TaskRegression {
		dst.Labels = nil
	} else {
		dst.Targets = nil
	}
	if m.Task == dataset.TaskLanguage {
		return nil
	}
	if err := checkLabels(&Split{Name: s.name, Batch: *dst}, m); err != nil {
		return err
	}
	return m.Normalization.Apply(dst.X, dst.X, m.FeatureDim())
}

// Close lets go of the cached shards.
func (s *Stream) Close() {
	for i := range s.shards {
		if f := s.shards[i].file; f != nil {
			_ = f.Close() // it was only read
		}
		s.shards[i].file, s.shards[i].rows = nil, nil
	}
}
