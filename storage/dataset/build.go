package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"tandem.dev/storage/sealed"
)

// FromCSV converts a CSV file. It calls sink once for each shard and last for the manifest,
// with the name below the dataset's prefix; the sink may keep data. The same file and
// Options give the same calls. If the task is left open, text labels and at most 100 whole
// numbers that repeat are classes, anything else is a quantity; the Report says why. Rows
// that are bad end the conversion with a *BadRowsError unless o.MaxBadRows allows them.
//
// The whole table is in memory, 4 bytes a cell and about 100 a row.
func FromCSV(ctx context.Context, r io.Reader, o Options, sink func(name string, data []byte) error) (Manifest, Report, error) {
	if err := o.Validate(); err != nil {
		return Manifest{}, Report{}, fmt.Errorf("dataset options: %w", err)
	}
	t, err := readCSV(ctx, r, o)
	if err != nil {
		return Manifest{}, t.report(), fmt.Errorf("make dataset: %w", err)
	}
	d, err := decodeLabels(t.labels, o)
	switch {
	case err != nil && t.badRows > int64(o.MaxBadRows): // what the rows that are left look like comes of that
		return Manifest{}, t.report(), fmt.Errorf("make dataset: %w", &BadRowsError{Problems: t.bad, Rows: t.badRows, Allowed: o.MaxBadRows})
	case err != nil && t.badRows > 0:
		return Manifest{}, t.report(), fmt.Errorf("make dataset: column %s: %w, without the %d bad rows, of which the first is %s", o.Label, err, t.badRows, t.bad[0])
	case err != nil:
		return Manifest{}, t.report(), fmt.Errorf("make dataset: column %s: %w", o.Label, err)
	}
	t.leaveOut(d)
	report := t.report()
	report.Task, report.TaskReason = d.task, d.reason
	if t.badRows > int64(o.MaxBadRows) {
		return Manifest{}, report, fmt.Errorf("make dataset: %w", &BadRowsError{Problems: t.bad, Rows: t.badRows, Allowed: o.MaxBadRows})
	}
	b := builder{rows: t, decoded: d, options: o, report: &report, sink: sink}
	m, err := b.build(ctx)
	if err != nil {
		return Manifest{}, report, fmt.Errorf("make dataset: %w", err)
	}
	return m, report, nil
}

// report describes the rows as far as they were read. It works on nil.
func (t *rows) report() Report {
	if t == nil {
		return Report{}
	}
	r := Report{Rows: t.read, Bad: t.bad, BadRows: t.badRows, Dropped: t.dropped, DroppedRows: t.nDropped}
	for i, h := range t.header {
		c := Column{Name: h, Role: t.role[i], Type: t.kinds[i].name(), Missing: t.kinds[i].missing}
		if m := t.kinds[i].merged; m.matters() {
			c.Merged, c.MergedExample = int64(m.count), m.example
		}
		r.Columns = append(r.Columns, c)
	}
	seen := make(map[[16]byte]bool, len(t.sums))
	for _, s := range t.sums {
		if seen[s] {
			r.Duplicates++
		}
		seen[s] = true
	}
	return r
}

// leaveOut moves rows with bad labels to the bad rows.
func (t *rows) leaveOut(d *decoded) {
	if len(d.bad) == 0 {
		return
	}
	dim, kept := len(t.columns), 0
	for i, line := range t.lines {
		if reason, bad := d.bad[i]; bad {
			t.addBad(Problem{line, t.header[t.label], reason})
			continue
		}
		copy(t.features[kept*dim:(kept+1)*dim], t.features[i*dim:(i+1)*dim])
		t.lines[kept], t.labels[kept], t.sums[kept] = line, t.labels[i], t.sums[i]
		if d.labels != nil {
			d.labels[kept] = d.labels[i]
		}
		if d.targets != nil {
			d.targets[kept] = d.targets[i]
		}
		kept++
	}
	t.features, t.lines, t.labels, t.sums = t.features[:kept*dim], t.lines[:kept], t.labels[:kept], t.sums[:kept]
	if d.labels != nil {
		d.labels = d.labels[:kept]
	}
	if d.targets != nil {
		d.targets = d.targets[:kept]
	}
	slices.SortStableFunc(t.bad, func(a, b Problem) int { return a.Line - b.Line })
}

type builder struct {
	*rows
	*decoded
	options Options
	report  *Report
	sink    func(name string, data []byte) error
}

// build splits, fills, measures and writes.
func (b *builder) build(ctx context.Context) (Manifest, error) {
	n, dim := len(b.lines), len(b.columns)
	if n == 0 {
		return Manifest{}, errors.New("no good row is left")
	}
	groups, count := b.decoded.labels, b.classes
	if b.task == TaskRegression {
		groups, count = make([]int64, n), 1
	}
	parts := split(groups, count, b.options.Split, b.options.Seed)
	for i, name := range splitNames() {
		if b.options.Split[i] > 0 && len(parts[i]) == 0 {
			return Manifest{}, fmt.Errorf("the %s split of %s has no row: %d rows are too few", name, b.options.Split, n)
		}
	}
	if err := b.fill(parts[0]); err != nil {
		return Manifest{}, err
	}
	b.countLeaks(parts)
	m := Manifest{
		Format: format, FormatVersion: formatVersion,
		Task: b.task, Shape: b.options.Shape, Label: b.header[b.label],
		NumClasses: b.classes, ClassNames: b.classNames,
		Stats: featureStats(b.features, dim, parts[0]),
		Ratio: b.options.Split, Seed: b.options.Seed,
		Source: Source{
			SHA256: b.sha, Bytes: b.bytes, Rows: b.read, BadRows: b.badRows, DroppedRows: b.nDropped,
			FilledCells: b.report.FilledCells, Duplicates: b.report.Duplicates, Missing: b.options.Missing,
		},
	}
	for _, i := range b.columns {
		m.Features = append(m.Features, b.header[i])
	}
	if len(m.Shape) == 0 {
		m.Shape = []int64{int64(dim)}
	}
	m.Normalization = b.options.Normalize.fit(m.Stats)
	b.doubt(m)
	for i, name := range splitNames() {
		s, err := b.write(ctx, name, parts[i])
		if err != nil {
			return Manifest{}, err
		}
		m.Splits = append(m.Splits, s)
	}
	for c := range b.classes {
		class := Class{Name: m.ClassName(c)}
		for i, s := range m.Splits {
			class.Rows[i] = s.ClassCounts[c]
		}
		b.report.Classes = append(b.report.Classes, class)
	}
	return m, commit(m, b.sink)
}

// commit gives a manifest to sink.
func commit(m Manifest, sink func(name string, data []byte) error) error {
	if err := m.check(); err != nil {
		return err
	}
	j, err := sealed.Marshal(m)
	if err != nil {
		return err
	}
	return sink(ManifestName, j)
}

// fill replaces missing values by the mean of their column in the training split.
func (b *builder) fill(train []int) error {
	dim := len(b.columns)
	for j, i := range b.columns {
		if b.kinds[i].missing == 0 || b.options.Missing != MissingMean {
			continue
		}
		var sum float64
		known := 0
		for _, r := range train {
			if x := b.features[r*dim+j]; x == x {
				sum += float64(x)
				known++
			}
		}
		if known == 0 {
			return fmt.Errorf("column %s has no value in the training split, so there is no mean to fill in; drop it with --drop %s", b.header[i], b.header[i])
		}
		mean := float32(sum / float64(known))
		for r := range b.lines {
			if at := r*dim + j; b.features[at] != b.features[at] {
				b.features[at] = mean
				b.report.FilledCells++
			}
		}
	}
	return nil
}

// countLeaks counts evaluation rows that training has seen.
func (b *builder) countLeaks(parts [3][]int) {
	train := make(map[[16]byte]bool, len(parts[0]))
	for _, r := range parts[0] {
		train[b.sums[r]] = true
	}
	for _, r := range slices.Concat(parts[1], parts[2]) {
		if train[b.sums[r]] {
			b.report.Leaked++
		}
	}
}

// write encodes the given rows as shards of limited size.
func (b *builder) write(ctx context.Context, name string, part []int) (Split, error) {
	dim := len(b.columns)
	s := Split{Name: name, Rows: int64(len(part)), Shards: []Shard{}}
	if b.classes > 0 {
		s.ClassCounts = make([]int64, b.classes)
	}
	perShard := max(1, int(b.options.Limits.ShardBytes)/(4*dim+8))
	for chunk := range slices.Chunk(part, perShard) {
		if err := ctx.Err(); err != nil {
			return Split{}, err
		}
		t := Table{Rows: len(chunk), FeatureDim: dim, Features: make([]float32, 0, len(chunk)*dim)}
		for _, r := range chunk {
			t.Features = append(t.Features, b.features[r*dim:(r+1)*dim]...)
			if b.task == TaskRegression {
				t.Targets = append(t.Targets, b.targets[r])
				continue
			}
			t.Labels = append(t.Labels, b.decoded.labels[r])
			s.ClassCounts[b.decoded.labels[r]]++
		}
		if err := t.check(b.task, b.classes); err != nil {
			return Split{}, err
		}
		if err := s.put(t, b.task, b.sink); err != nil {
			return Split{}, err
		}
	}
	return s, nil
}

// put gives a table to sink as the next shard of the split.
func (s *Split) put(t Table, task Task, sink func(name string, data []byte) error) error {
	data, err := encodeShard(t, task)
	if err != nil {
		return err
	}
	key, sum := shardKey(s.Name, len(s.Shards)), sha256.Sum256(data)
	if err := sink(key, data); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	s.Shards = append(s.Shards, Shard{Key: key, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(data)), Rows: int64(t.Rows)})
	return nil
}
