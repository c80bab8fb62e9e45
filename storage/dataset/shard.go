package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Table is a split in memory, raw (not normalised).
type Table struct {
	Rows       int
	FeatureDim int
	Features   []float32 // Rows x FeatureDim, row-major
	Labels     []int64   // Rows, in [0, NumClasses); nil for regression
	Targets    []float32 // Rows; nil for classification
	Text       []byte    // language only, in place of all others: Rows x (FeatureDim+1) bytes, row-major
}

// column is one column of a shard as its numbers lie in the file.
type column struct {
	name  string
	kind  arrow.DataType
	width int64 // bytes of a row
}

// columns are those of every shard of a dataset, in the order in which they lie in the file.
func columns(dim int, task Task) []column {
	list := func(n int, of arrow.DataType) arrow.DataType {
		return arrow.FixedSizeListOfField(int32(n), arrow.Field{Name: "item", Type: of})
	}
	features := column{"features", list(dim, arrow.PrimitiveTypes.Float32), 4 * int64(dim)}
	switch task {
	case TaskLanguage:
		return []column{{"text", list(dim+1, arrow.PrimitiveTypes.Uint8), int64(dim) + 1}}
	case TaskRegression:
		return []column{features, {"label", arrow.PrimitiveTypes.Float32, 4}}
	}
	return []column{features, {"label", arrow.PrimitiveTypes.Int64, 8}}
}

// schema is that of every shard of a dataset.
func schema(dim int, task Task) *arrow.Schema {
	var fields []arrow.Field
	for _, c := range columns(dim, task) {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.kind})
	}
	return arrow.NewSchema(fields, nil)
}

// encodeShard writes a table as an Arrow IPC file of one record batch.
func encodeShard(t Table, task Task) ([]byte, error) {
	sc := schema(t.FeatureDim, task)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	defer rb.Release()
	for _, field := range rb.Fields() {
		switch b := field.(type) {
		case *array.FixedSizeListBuilder:
			for range t.Rows {
				b.Append(true)
			}
			switch values := b.ValueBuilder().(type) {
			case *array.Float32Builder:
				values.AppendValues(t.Features, nil)
			case *array.Uint8Builder:
				values.AppendValues(t.Text, nil)
			default:
				return nil, fmt.Errorf("encode shard: value builder is %T", values)
			}
		case *array.Int64Builder:
			b.AppendValues(t.Labels, nil)
		case *array.Float32Builder:
			b.AppendValues(t.Targets, nil)
		default:
			return nil, fmt.Errorf("encode shard: builder is %T", b)
		}
	}
	rec := rb.NewRecordBatch()
	defer rec.Release()
	var buf bytes.Buffer
	w, err := ipc.NewFileWriter(&buf, ipc.WithSchema(sc))
	if err != nil {
		return nil, fmt.Errorf("encode shard: %w", err)
	}
	if err := w.Write(rec); err != nil {
		return nil, fmt.Errorf("encode shard: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encode shard: %w", err)
	}
	return buf.Bytes(), nil
}

// decodeShard reads what encodeShard wrote and checks every value. rows, dim and task are
// the manifest's; classes is 0 for regression.
//
// It does not run an Arrow reader over bytes from outside, for those trust the lengths they
// find (a file of 500 bytes can make arrow-go ask for 29 GB). Of the frame around the
// numbers it needs only where they end; then it encodes what it read again, and refuses the
// shard unless the bytes are the same.
func decodeShard(b []byte, rows int64, dim int, task Task, classes int) (Table, error) {
	places, err := placesIn(b[max(0, len(b)-shardTail):], int64(len(b)), rows, dim, task)
	if err != nil {
		return Table{}, err
	}
	t := Table{Rows: int(rows), FeatureDim: dim}
	for _, p := range places {
		t.decode(task, p.name, b[p.at:][:rows*p.width])
	}
	if err := t.check(task, classes); err != nil {
		return Table{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	again, err := encodeShard(t, task)
	if err != nil {
		return Table{}, err
	}
	if !bytes.Equal(again, b) {
		return Table{}, fmt.Errorf("%w: not the arrow file of its content", ErrCorrupt)
	}
	return t, nil
}

// place is where the numbers of a column lie in a shard.
type place struct {
	column
	at int64 // of the first row
}

// shardTail is how many bytes at the end of a shard placesIn needs: the footer's length in 4
// bytes and "ARROW1".
const shardTail = 4 + 6

// placesIn finds the numbers of a shard of size bytes from its last shardTail bytes. Behind
// the numbers come an end-of-stream mark of 8 bytes, the footer and the tail.
func placesIn(tail []byte, size, rows int64, dim int, task Task) ([]place, error) {
	if rows <= 0 || rows > maxRows || dim <= 0 || dim > maxDim {
		return nil, fmt.Errorf("%w: %d rows of %d features", ErrCorrupt, rows, dim)
	}
	if len(tail) < shardTail {
		return nil, fmt.Errorf("%w: %d bytes are not an Arrow file", ErrCorrupt, size)
	}
	at := size - shardTail - int64(binary.LittleEndian.Uint32(tail)) - 8
	all := columns(dim, task)
	places := make([]place, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		at -= padded(rows * all[i].width)
		places[i] = place{all[i], at}
	}
	if at < 0 {
		return nil, fmt.Errorf("%w: %d bytes cannot be an arrow file of %d rows of %d features", ErrCorrupt, size, rows, dim)
	}
	return places, nil
}

// decode appends the bytes of a column to the table. Memory that the table has is used.
func (t *Table) decode(task Task, name string, b []byte) {
	switch {
	case name == "text":
		t.Text = append(t.Text, b...)
	case name == "features":
		t.Features = float32s(t.Features, b)
	case task == TaskRegression:
		t.Targets = float32s(t.Targets, b)
	default:
		t.Labels = slices.Grow(t.Labels, len(b)/8)
		for ; len(b) >= 8; b = b[8:] {
			t.Labels = append(t.Labels, int64(binary.LittleEndian.Uint64(b)))
		}
	}
}

func padded(n int64) int64 { return (n + 7) &^ 7 }

func float32s(dst []float32, b []byte) []float32 {
	n := len(dst)
	dst = slices.Grow(dst, len(b)/4)[:n+len(b)/4]
	for i := range dst[n:] {
		dst[n+i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return dst
}

// check makes sure that nothing reaches a model that it must not see.
func (t Table) check(task Task, classes int) error {
	if task == TaskLanguage {
		if len(t.Text) != t.Rows*(t.FeatureDim+1) || t.Features != nil || t.Labels != nil || t.Targets != nil {
			return fmt.Errorf("%d bytes of text for %d rows of %d", len(t.Text), t.Rows, t.FeatureDim)
		}
		return nil
	}
	if len(t.Features) != t.Rows*t.FeatureDim {
		return fmt.Errorf("%d feature values for %d rows of %d", len(t.Features), t.Rows, t.FeatureDim)
	}
	for i, x := range t.Features {
		if !finite(x) {
			return fmt.Errorf("row %d: feature %d is %v", i/t.FeatureDim, i%t.FeatureDim, x)
		}
	}
	if task == TaskRegression {
		if len(t.Targets) != t.Rows || t.Labels != nil {
			return fmt.Errorf("%d targets for %d rows", len(t.Targets), t.Rows)
		}
		for i, y := range t.Targets {
			if !finite(y) {
				return fmt.Errorf("row %d: target is %v", i, y)
			}
		}
		return nil
	}
	if len(t.Labels) != t.Rows || t.Targets != nil {
		return fmt.Errorf("%d labels for %d rows", len(t.Labels), t.Rows)
	}
	for i, y := range t.Labels {
		if y < 0 || y >= int64(classes) {
			return fmt.Errorf("row %d: label %d is out of range: there are %d classes, from 0", i, y, classes)
		}
	}
	return nil
}
