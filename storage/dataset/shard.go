package dataset

import (
	"bytes"
	"errors"
	"fmt"

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
}

// schema is that of every shard of a data set.
func schema(dim int, task Task) *arrow.Schema {
	var label arrow.DataType = arrow.PrimitiveTypes.Int64
	if task == TaskRegression {
		label = arrow.PrimitiveTypes.Float32
	}
	features := arrow.FixedSizeListOfField(int32(dim), arrow.Field{Name: "item", Type: arrow.PrimitiveTypes.Float32})
	return arrow.NewSchema([]arrow.Field{{Name: "features", Type: features}, {Name: "label", Type: label}}, nil)
}

// encodeShard writes a table as an Arrow IPC file of one record batch.
func encodeShard(t Table, task Task) ([]byte, error) {
	sc := schema(t.FeatureDim, task)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	defer rb.Release()
	lists, ok := rb.Field(0).(*array.FixedSizeListBuilder)
	if !ok {
		return nil, fmt.Errorf("encode shard: builder is %T", rb.Field(0))
	}
	values, ok := lists.ValueBuilder().(*array.Float32Builder)
	if !ok {
		return nil, fmt.Errorf("encode shard: value builder is %T", lists.ValueBuilder())
	}
	for range t.Rows {
		lists.Append(true)
	}
	values.AppendValues(t.Features, nil)
	switch b := rb.Field(1).(type) {
	case *array.Int64Builder:
		b.AppendValues(t.Labels, nil)
	case *array.Float32Builder:
		b.AppendValues(t.Targets, nil)
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

// decodeShard reads what encodeShard wrote and checks every value. classes is 0 for
// regression. The Arrow library may panic on damaged bytes; that is ErrCorrupt too.
func decodeShard(b []byte, dim int, task Task, classes int) (t Table, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = Table{}, fmt.Errorf("%w: arrow: %v", ErrCorrupt, p)
		}
	}()
	// A sound shard's blocks are no longer than the file, so the limits cost nothing.
	size := int64(len(b))
	r, err := ipc.NewFileReader(bytes.NewReader(b), ipc.WithMetadataSizeLimit(size), ipc.WithBodySizeLimit(size), ipc.WithSchema(schema(dim, task)))
	if err != nil {
		return Table{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer r.Close()
	if r.NumRecords() != 1 || r.NumDictionaries() != 0 {
		return Table{}, fmt.Errorf("%w: %d record batches and %d dictionaries", ErrCorrupt, r.NumRecords(), r.NumDictionaries())
	}
	rec, err := r.RecordBatch(0)
	if err != nil {
		return Table{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	t, err = fromRecord(rec, dim)
	if err == nil {
		err = t.check(task, classes)
	}
	if err != nil {
		return Table{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return t, nil
}

func fromRecord(rec arrow.RecordBatch, dim int) (Table, error) {
	n := int(rec.NumRows())
	if rec.NumCols() != 2 || rec.Column(0).NullN() != 0 || rec.Column(1).NullN() != 0 ||
		rec.Column(0).Len() != n || rec.Column(1).Len() != n {
		return Table{}, errors.New("want two columns of equal length without nulls")
	}
	lists, ok := rec.Column(0).(*array.FixedSizeList)
	if !ok || lists.Data().Offset() != 0 {
		return Table{}, fmt.Errorf("column features is %T", rec.Column(0))
	}
	values, ok := lists.ListValues().(*array.Float32)
	if !ok || values.NullN() != 0 || n > maxRows || values.Len() != n*dim {
		return Table{}, fmt.Errorf("column features has %d values of %T for %d rows of %d", lists.ListValues().Len(), lists.ListValues(), n, dim)
	}
	t := Table{Rows: n, FeatureDim: dim, Features: values.Float32Values()}
	switch c := rec.Column(1).(type) {
	case *array.Int64:
		t.Labels = c.Int64Values()
	case *array.Float32:
		t.Targets = c.Float32Values()
	default:
		return Table{}, fmt.Errorf("column label is %T", c)
	}
	return t, nil
}

// check makes sure that nothing reaches a model that it must not see.
func (t Table) check(task Task, classes int) error {
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
