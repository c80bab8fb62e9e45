package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// TextOptions of FromText.
type TextOptions struct {
	// Context is the length of a window in bytes: a row's input, and as many next bytes.
	Context int
	// Split is the share of the text in training, validation and test, in this order.
	Split Ratio
	// Limits bound the file (Bytes) and the shards (ShardBytes).
	Limits Limits
}

const (
	byteClasses = 256
	maxContext  = 1 << 16
)

// Validate refuses options that cannot be meant.
func (o TextOptions) Validate() error {
	if o.Context < 2 || o.Context > maxContext {
		return fmt.Errorf("a context of %d bytes is not possible: give 2 to %d with --context, such as --context 128", o.Context, maxContext)
	}
	return o.Split.validate()
}

// FromText converts a text of any encoding for a language model over bytes. The text is cut
// into the splits in its own order; a split into windows of Context bytes that follow one
// another, with the byte after each as its last label. So no byte is in two splits, and none
// is predicted twice. What is left at the end of a split is too short for a window and left
// out. It calls sink as FromCSV does. The whole text is in memory.
func FromText(ctx context.Context, r io.Reader, o TextOptions, sink func(name string, data []byte) error) (Manifest, error) {
	m, err := fromText(ctx, r, o, sink)
	if err != nil {
		return Manifest{}, fmt.Errorf("make dataset: %w", err)
	}
	return m, nil
}

func fromText(ctx context.Context, r io.Reader, o TextOptions, sink func(name string, data []byte) error) (Manifest, error) {
	if err := o.Validate(); err != nil {
		return Manifest{}, err
	}
	src := &source{r: r, sum: sha256.New(), limit: o.Limits.Bytes}
	text, err := io.ReadAll(src)
	if err != nil {
		return Manifest{}, fmt.Errorf("read the text: %w", err)
	}
	if len(text) == 0 {
		return Manifest{}, errors.New("the file is empty")
	}
	m := Manifest{
		Format: format, FormatVersion: formatVersion, Task: TaskLanguage,
		Shape: []int64{int64(o.Context)}, Label: "next byte", NumClasses: byteClasses,
		Normalization: Normalization{Method: MethodNone}, Ratio: o.Split,
		Source: Source{SHA256: hex.EncodeToString(src.sum.Sum(nil)), Bytes: src.n, Missing: MissingError},
	}
	for i := range o.Context {
		m.Features = append(m.Features, "b"+strconv.Itoa(i))
	}
	parts := cut(text, o.Split)
	for i, name := range splitNames() {
		if o.Split[i] > 0 && len(parts[i]) <= o.Context {
			return Manifest{}, fmt.Errorf("the %s split of %s has %d of the %d bytes, but a window takes %d and the byte after it: take a longer text, a smaller --context or another --split",
				name, o.Split, len(parts[i]), len(text), o.Context)
		}
		s, err := writeText(ctx, name, parts[i], o, sink)
		if err != nil {
			return Manifest{}, err
		}
		m.Splits = append(m.Splits, s)
		m.Source.Rows += s.Rows
	}
	return m, commit(m, sink)
}

// cut parts a text in the ratio, in its order.
func cut(text []byte, r Ratio) [3][]byte {
	n, sum := int64(len(text)), int64(r[0]+r[1]+r[2])
	train, rest := n*int64(r[0])/sum, n*int64(r[0]+r[1])/sum
	return [3][]byte{text[:train], text[train:rest], text[rest:]}
}

// writeText writes the windows of a split.
func writeText(ctx context.Context, name string, text []byte, o TextOptions, sink func(name string, data []byte) error) (Split, error) {
	s := Split{Name: name, Rows: int64(max(0, len(text)-1) / o.Context), Shards: []Shard{}}
	perShard := max(1, o.Limits.ShardBytes/int64(o.Context+1))
	for row := int64(0); row < s.Rows; {
		if err := ctx.Err(); err != nil {
			return Split{}, err
		}
		end := min(row+perShard, s.Rows)
		t := Table{Rows: int(end - row), FeatureDim: o.Context}
		for ; row < end; row++ {
			at := row * int64(o.Context)
			t.Text = append(t.Text, text[at:at+int64(o.Context)+1]...)
		}
		if err := s.put(t, TaskLanguage, sink); err != nil {
			return Split{}, err
		}
	}
	return s, nil
}
