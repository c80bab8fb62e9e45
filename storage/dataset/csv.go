package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// rows is the content of a CSV file: good rows only, labels still as text.
type rows struct {
	header   []string
	role     []string // of each column
	columns  []int    // indices of the features in header
	label    int      // index of the label in header
	features []float32
	labels   []string
	lines    []int
	sums     [][16]byte // of each row's numbers and label, to find equal ones
	kinds    []kinds    // of each column in header
	bad      []Problem
	badRows  int64
	dropped  []Problem
	nDropped int64
	read     int64
	sha      string
	bytes    int64
}

// kinds counts what the cells of a column hold.
type kinds struct {
	ints, floats, texts, missing int64
	example                      Problem // the first text
	merged                       merged
}

// count reads a cell and counts what it holds.
func (k *kinds) count(cell string) (float32, cellKind) {
	v, kind := number(cell)
	switch kind {
	case kindInt:
		k.ints++
		k.merged.add(cell, v)
	case kindFloat:
		k.floats++
		k.merged.add(cell, v)
	case kindRange:
		k.floats++
	case kindText:
		k.texts++
	case kindMissing:
		k.missing++
	}
	return v, kind
}

// name is the type of the column for the report.
func (k kinds) name() string {
	switch {
	case k.texts > 0 && k.ints+k.floats > 0:
		return "mixed"
	case k.texts > 0:
		return "text"
	case k.floats > 0:
		return "float"
	case k.ints > 0:
		return "int"
	}
	return "empty"
}

// missingValue marks, in features, a value to be replaced by a mean. No cell yields NaN.
var missingValue = float32(math.NaN())

// source counts, hashes and limits the bytes of the file.
type source struct {
	r     io.Reader
	sum   hash.Hash
	n     int64
	limit int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.sum.Write(p[:n])
	if s.n > s.limit {
		return 0, fmt.Errorf("the file has more than the %d bytes allowed", s.limit)
	}
	return n, err
}

// readCSV reads the whole file. Rows that are bad are noted, not returned.
func readCSV(ctx context.Context, r io.Reader, o Options) (*rows, error) {
	src := &source{r: r, sum: sha256.New(), limit: o.Limits.Bytes}
	c, err := NewReader(src, o.Comma, o.NoHeader)
	if err != nil {
		return nil, err
	}
	t, err := newRows(c, o)
	if err != nil {
		return nil, err
	}
	for {
		record, line, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		t.add(record, line, o)
		if t.read%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if int64(len(t.features)) > o.Limits.Cells {
			return nil, fmt.Errorf("line %d: the file has more than the %d cells allowed", line, o.Limits.Cells)
		}
	}
	t.sha, t.bytes = hex.EncodeToString(src.sum.Sum(nil)), src.n
	return t, t.checkColumns()
}

// newRows gives each column its role.
func newRows(c *Reader, o Options) (*rows, error) {
	header := c.Header
	if len(header) > o.Limits.Columns {
		return nil, fmt.Errorf("the file has %d columns, at most %d are allowed", len(header), o.Limits.Columns)
	}
	t := &rows{header: header, role: make([]string, len(header)), kinds: make([]kinds, len(header)), label: -1}
	for i, h := range header {
		switch {
		case h == o.Label:
			t.label, t.role[i] = i, "label"
		case slices.Contains(o.Drop, h):
			t.role[i] = "dropped"
		case c.unnamed[h]:
			return nil, fmt.Errorf("column %d has no name in the header: give it one, or leave it out with --drop %q", i+1, h)
		default:
			t.columns, t.role[i] = append(t.columns, i), "feature"
		}
	}
	if t.label < 0 {
		return nil, fmt.Errorf("there is no label column %q; the columns are %s", o.Label, c.Columns())
	}
	for _, d := range o.Drop {
		if !slices.Contains(header, d) {
			return nil, fmt.Errorf("there is no column %q to drop; the columns are %s", d, c.Columns())
		}
	}
	if len(t.columns) == 0 {
		return nil, errors.New("no feature column is left")
	}
	if len(o.Shape) != 0 {
		if err := checkShape(o.Shape, len(t.columns)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func nameSome(names []string) string {
	const shown = 20
	names = slices.Clone(names)
	for i, name := range names {
		if strings.ContainsAny(name, ",\"") { // as --drop reads it
			names[i] = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
	}
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// add takes in one record, or notes what is wrong with it.
func (t *rows) add(record []string, line int, o Options) {
	t.read++
	if len(record) != len(t.header) {
		t.addBad(Problem{Line: line, Reason: fmt.Sprintf("has %d cells instead of %d", len(record), len(t.header))})
		return
	}
	var bad, missing *Problem
	start := len(t.features)
	for _, i := range t.columns {
		cell := record[i]
		k := &t.kinds[i]
		v, kind := k.count(cell)
		switch kind {
		case kindMissing:
			v = missingValue
			if missing == nil {
				missing = &Problem{line, t.header[i], "missing value"}
			}
		case kindRange:
			if bad == nil {
				bad = &Problem{line, t.header[i], fmt.Sprintf("%.40q is not finite as a 32-bit number", cell)}
			}
		case kindText:
			p := Problem{line, t.header[i], fmt.Sprintf("%.40q is not a number", cell)}
			if k.texts == 1 {
				k.example = p
			}
			if bad == nil {
				bad = &p
			}
		}
		t.features = append(t.features, v)
	}
	for i, role := range t.role {
		if role == "dropped" {
			t.kinds[i].count(record[i])
		}
	}
	label := record[t.label]
	t.kinds[t.label].count(label)
	switch {
	case isMissing(label):
		if missing == nil || o.Missing == MissingMean {
			missing = &Problem{line, t.header[t.label], "missing label"}
			if label != "" {
				missing.Reason += fmt.Sprintf(" (%q counts as none)", label)
			}
		}
	case !utf8.ValidString(label):
		bad = &Problem{line, t.header[t.label], fmt.Sprintf("label %.40q is not UTF-8", label)}
	}
	switch {
	case bad == nil && missing != nil && o.Missing == MissingDrop:
		t.nDropped++
		if len(t.dropped) < maxProblems {
			t.dropped = append(t.dropped, *missing)
		}
	case bad == nil && missing != nil && (o.Missing == MissingError || isMissing(label)):
		bad = missing
	case bad == nil:
		t.labels, t.lines = append(t.labels, label), append(t.lines, line)
		t.sums = append(t.sums, sumRow(t.features[start:], label))
		return
	}
	if bad != nil {
		t.addBad(*bad)
	}
	t.features = t.features[:start]
}

func (t *rows) addBad(p Problem) {
	t.badRows++
	if len(t.bad) < maxProblems {
		t.bad = append(t.bad, p)
	}
}

// checkColumns refuses feature columns that hold no numbers at all, which is a matter of
// the whole column and not of each row.
func (t *rows) checkColumns() error {
	var text, empty []string
	var example Problem
	for _, i := range t.columns {
		k := t.kinds[i]
		switch {
		case k.texts > k.ints+k.floats:
			if text == nil {
				example = k.example
			}
			text = append(text, t.header[i])
		case k.missing > 0 && k.missing == t.read:
			empty = append(empty, t.header[i])
		}
	}
	if text != nil {
		return fmt.Errorf("feature columns hold text: %s (%s); drop them with --drop %s, or turn them into numbers first", nameSome(text), example, strings.Join(text, ","))
	}
	if empty != nil {
		return fmt.Errorf("feature columns hold no value at all: %s; drop them with --drop %s", nameSome(empty), strings.Join(empty, ","))
	}
	return nil
}

// sumRow makes equal rows findable without keeping their text.
func sumRow(features []float32, label string) [16]byte {
	b := make([]byte, 0, 4*len(features)+len(label))
	for _, f := range features {
		u := math.Float32bits(f)
		b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	sum := sha256.Sum256(append(b, label...))
	return [16]byte(sum[:16])
}
