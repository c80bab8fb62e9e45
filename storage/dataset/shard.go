package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

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

// decodeShard reads what encodeShard wrote and checks every value. rows, dim and task are
// the manifest's; classes is 0 for regression.
//
// It does not run an Arrow reader over bytes from outside, for those trust the lengths they
// find (a file of 500 bytes can make arrow-go ask for 29 GB). Of the frame around the
// numbers it needs only where they end; then it encodes what it read again, and refuses the
// shard unless the bytes are the same.
func decodeShard(b []byte, rows int64, dim int, task Task, classes int) (Table, error) {
	labelBytes := int64(8)
	if task == TaskRegression {
		labelBytes = 4
	}
	if rows <= 0 || rows > maxRows || dim <= 0 || dim > maxDim {
		return Table{}, fmt.Errorf("%w: %d rows of %d features", ErrCorrupt, rows, dim)
	}
	features, labels := rows*int64(dim)*4, rows*labelBytes
	end, err := bodyEnd(b)
	start := end - padded(features) - padded(labels)
	if err != nil || start < 0 {
		return Table{}, fmt.Errorf("%w: %d bytes cannot be an arrow file of %d rows of %d features", ErrCorrupt, len(b), rows, dim)
	}
	t := Table{Rows: int(rows), FeatureDim: dim, Features: float32s(b[start : start+features])}
	label := b[start+padded(features):][:labels]
	if task == TaskRegression {
		t.Targets = float32s(label)
	} else {
		t.Labels = make([]int64, rows)
		for i := range t.Labels {
			t.Labels[i] = int64(binary.LittleEndian.Uint64(label[8*i:]))
		}
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

// bodyEnd finds the end of the numbers: behind them come an end-of-stream mark of 8 bytes,
// the footer, its length in 4 bytes and "ARROW1".
func bodyEnd(b []byte) (int64, error) {
	const tail = 4 + len(ipcMagic)
	if len(b) < tail {
		return 0, errors.New("too short")
	}
	footer := int64(binary.LittleEndian.Uint32(b[len(b)-tail:]))
	end := int64(len(b)-tail) - footer - 8
	if end < 0 {
		return 0, errors.New("footer too long")
	}
	return end, nil
}

const ipcMagic = "ARROW1"

func padded(n int64) int64 { return (n + 7) &^ 7 }

func float32s(b []byte) []float32 {
	fs := make([]float32, len(b)/4)
	for i := range fs {
		fs[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return fs
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
