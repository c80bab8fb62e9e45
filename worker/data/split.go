package data

import (
	"context"
	"fmt"
	"slices"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
)

// Names of the splits.
const (
	Train      = dataset.Train
	Validation = dataset.Validation
	Test       = dataset.Test
)

// Batch is a few rows as the engine takes them: features row-major, and labels for
// classification and text or targets for regression.
type Batch struct {
	Rows    int
	Shape   []int64   // of one row's features
	X       []float32 // Rows * product of Shape, normalised
	Labels  []int64   // classes from 0: one a row, or for text one for each place of a row; nil for regression
	Targets []float32 // regression; else nil
}

// Split is one split of a dataset in memory, normalised.
type Split struct {
	Batch
	Name string
	Raw  []float32 // the features before normalisation; only if kept
}

// Len implements Source.
func (s *Split) Len() int { return s.Rows }

// Gather implements Source.
func (s *Split) Gather(_ context.Context, dst *Batch, rows []int32) error {
	s.Batch.Gather(dst, rows)
	return nil
}

// Set is the splits of a dataset that were asked for.
type Set struct {
	Manifest dataset.Manifest
	splits   map[string]*Split
	streams  map[string]*Stream
}

// Split returns a split that was asked for at Load, or nil if it is streamed.
func (s *Set) Split(name string) *Split { return s.splits[name] }

// Source returns a split that was asked for at Load, in memory or streamed.
func (s *Set) Source(name string) Source {
	if stream := s.streams[name]; stream != nil {
		return stream
	}
	return s.splits[name]
}

// Close lets go of the cached shards. Nobody may be reading them.
func (s *Set) Close() {
	for _, stream := range s.streams {
		stream.Close()
	}
}

// Options of Load.
type Options struct {
	Splits  []string // names
	KeepRaw bool     // keep the features before normalisation as well

	// Memory is how many bytes a split may take; a larger one is streamed. 0: no limit.
	Memory int64
	Cache  Shards // for splits that are streamed; nil: none
	// Full, if not nil, is called once for a split that finds no room in the cache.
	Full func(split string)
}

// Load reads splits of the dataset below prefix and normalises them, or prepares to stream
// them. Every shard's hash and every label is verified, at the latest before the shard's
// first row is given out. Errors match those of storage and storage/dataset.
func Load(ctx context.Context, store storage.Store, prefix string, o Options) (*Set, error) {
	d, err := dataset.Open(ctx, store, prefix)
	if err != nil {
		return nil, err
	}
	set := &Set{Manifest: d.Manifest, splits: map[string]*Split{}, streams: map[string]*Stream{}}
	for _, name := range o.Splits {
		if s, ok := d.Manifest.Split(name); ok && o.Memory > 0 && s.Rows > o.Memory/rowBytes(d.Manifest) {
			set.streams[name] = newStream(d, s, o.Cache, o.Full)
			continue
		}
		table, err := d.Split(ctx, name)
		if err != nil {
			return nil, err
		}
		split := &Split{Name: name, Batch: Batch{
			Rows: table.Rows, Shape: d.Manifest.Shape, X: table.Features,
			Labels: table.Labels, Targets: table.Targets,
		}}
		if d.Manifest.Task == dataset.TaskLanguage {
			split.unfold(table.Text, d.Manifest.FeatureDim())
			split.Raw = split.X // bytes are not normalised
			set.splits[name] = split
			continue
		}
		if o.KeepRaw {
			split.Raw = table.Features
			split.X = make([]float32, len(table.Features))
		}
		if err := checkLabels(split, d.Manifest); err != nil {
			return nil, err
		}
		if err := d.Manifest.Normalization.Apply(split.X, table.Features, d.Manifest.FeatureDim()); err != nil {
			return nil, fmt.Errorf("normalise split %s: %w", name, err)
		}
		set.splits[name] = split
	}
	return set, nil
}

// rowBytes is what a row takes in memory.
func rowBytes(m dataset.Manifest) int64 {
	if m.Task == dataset.TaskLanguage {
		return 12 * int64(m.FeatureDim())
	}
	return 4*int64(m.FeatureDim()) + 8
}

// checkLabels guards the engine: there a label out of range is an error without a place, or
// on a GPU the end of the process.
func checkLabels(s *Split, m dataset.Manifest) error {
	if m.Task == dataset.TaskRegression {
		if len(s.Targets) != s.Rows {
			return fmt.Errorf("split %s: %w: %d targets for %d rows", s.Name, dataset.ErrCorrupt, len(s.Targets), s.Rows)
		}
		return nil
	}
	if len(s.Labels) != s.Rows {
		return fmt.Errorf("split %s: %w: %d labels for %d rows", s.Name, dataset.ErrCorrupt, len(s.Labels), s.Rows)
	}
	for i, y := range s.Labels {
		if y < 0 || y >= int64(m.NumClasses) {
			return fmt.Errorf("split %s: %w: row %d has label %d, the %d classes are 0 to %d", s.Name, dataset.ErrCorrupt, i, y, m.NumClasses, m.NumClasses-1)
		}
	}
	return nil
}

// Dim returns the number of features of a row.
func (b Batch) Dim() int {
	n := 1
	for _, d := range b.Shape {
		n *= int(d)
	}
	return n
}

// places returns the number of labels of a row.
func (b Batch) places() int { return len(b.Labels) / max(1, b.Rows) }

// unfold appends windows of text to an empty batch: dim bytes each as numbers, and the
// bytes that follow them as labels.
func (b *Batch) unfold(text []byte, dim int) {
	b.X, b.Labels = slices.Grow(b.X, len(text)), slices.Grow(b.Labels, len(text))
	for ; len(text) > dim; text = text[dim+1:] {
		for i, c := range text[:dim] {
			b.X = append(b.X, float32(c))
			b.Labels = append(b.Labels, int64(text[i+1]))
		}
	}
}

// Slice returns the rows [lo, hi) of b without copying them.
func (b Batch) Slice(lo, hi int) Batch {
	dim, places := b.Dim(), b.places()
	out := Batch{Rows: hi - lo, Shape: b.Shape, X: b.X[lo*dim : hi*dim]}
	if b.Labels != nil {
		out.Labels = b.Labels[lo*places : hi*places]
	}
	if b.Targets != nil {
		out.Targets = b.Targets[lo:hi]
	}
	return out
}

// Gather copies the given rows of b into dst, whose memory is used again.
func (b Batch) Gather(dst *Batch, rows []int32) {
	dim, places := b.Dim(), b.places()
	dst.Rows, dst.Shape = len(rows), b.Shape
	dst.X, dst.Labels, dst.Targets = dst.X[:0], dst.Labels[:0], dst.Targets[:0]
	for _, row := range rows {
		dst.X = append(dst.X, b.X[int(row)*dim:(int(row)+1)*dim]...)
		if b.Labels != nil {
			dst.Labels = append(dst.Labels, b.Labels[int(row)*places:(int(row)+1)*places]...)
		}
		if b.Targets != nil {
			dst.Targets = append(dst.Targets, b.Targets[row])
		}
	}
	if b.Labels == nil {
		dst.Labels = nil
	}
	if b.Targets == nil {
		dst.Targets = nil
	}
}
