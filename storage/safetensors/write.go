package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// Write writes the tensors in the order given, with optional metadata (nil for none). The
// same arguments give the same bytes. The header is padded with spaces so that the data
// begins at a multiple of 8 bytes.
func Write(w io.Writer, tensors []Tensor, meta map[string]string) error {
	head, err := encodeHeader(tensors, meta)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("write safetensors header: %w", err)
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return fmt.Errorf("write tensor %s: %w", t.Name, err)
		}
	}
	return nil
}

// Marshal returns the file that Write would write.
func Marshal(tensors []Tensor, meta map[string]string) ([]byte, error) {
	head, err := encodeHeader(tensors, meta)
	if err != nil {
		return nil, fmt.Errorf("write safetensors: %w", err)
	}
	n := len(head)
	for _, t := range tensors {
		n += len(t.Data)
	}
	b := append(make([]byte, 0, n), head...)
	for _, t := range tensors {
		b = append(b, t.Data...)
	}
	return b, nil
}

// Header returns the beginning of a file, up to the data, which are those of the spans one
// after the other, wherever these lie now.
func Header(spans []Span, meta map[string]string) ([]byte, error) {
	b, err := header(spans, meta)
	if err != nil {
		return nil, fmt.Errorf("write safetensors: %w", err)
	}
	return b, nil
}

// encodeHeader returns the length and the JSON header.
func encodeHeader(tensors []Tensor, meta map[string]string) ([]byte, error) {
	spans := make([]Span, len(tensors))
	for i, t := range tensors {
		spans[i] = Span{Tensor: t, End: int64(len(t.Data))}
	}
	return header(spans, meta)
}

func header(spans []Span, meta map[string]string) ([]byte, error) {
	limits := DefaultLimits()
	if len(spans) > limits.Tensors {
		return nil, fmt.Errorf("%w: %d tensors, at most %d are allowed", ErrFormat, len(spans), limits.Tensors)
	}
	var b bytes.Buffer
	b.Write(make([]byte, 8)) // the length, filled in at the end
	b.WriteByte('{')
	if meta != nil {
		if err := field(&b, metadataKey, meta); err != nil {
			return nil, err
		}
	}
	seen := make(map[string]bool, len(spans))
	var offset int64
	for _, t := range spans {
		if err := t.check(limits, t.End-t.Begin); err != nil {
			return nil, err
		}
		if seen[t.Name] || !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("%w: tensor name %q is doubled or no UTF-8", ErrFormat, t.Name)
		}
		seen[t.Name] = true
		end := offset + t.End - t.Begin
		e := entry{DType: t.DType, Shape: t.Shape, Offsets: [2]int64{offset, end}}
		if e.Shape == nil {
			e.Shape = []int64{}
		}
		if err := field(&b, t.Name, e); err != nil {
			return nil, err
		}
		offset = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	n := int64(b.Len() - 8)
	if n > limits.HeaderBytes || n+8+offset > limits.TotalBytes {
		return nil, fmt.Errorf("%w: header of %d and data of %d bytes are too large", ErrFormat, n, offset)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(n))
	return b.Bytes(), nil
}

// entry is the JSON of one tensor; the order of its fields is the order written.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// field appends one member to the object being written.
func field(b *bytes.Buffer, name string, v any) error {
	if b.Bytes()[b.Len()-1] != '{' {
		b.WriteByte(',')
	}
	k, err := json.Marshal(name)
	if err != nil {
		return fmt.Errorf("encode name %q: %w", name, err)
	}
	j, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %q: %w", name, err)
	}
	b.Write(k)
	b.WriteByte(':')
	b.Write(j)
	return nil
}
