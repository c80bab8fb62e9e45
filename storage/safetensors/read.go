package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// Read reads a whole file from r and returns its tensors in the order of their data, and
// its metadata (nil for none). Memory grows with the bytes that really come, never with
// what a header claims.
func Read(r io.Reader, l Limits) ([]Tensor, map[string]string, error) {
	b, err := io.ReadAll(io.LimitReader(r, l.TotalBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read safetensors: %w", err)
	}
	return Unmarshal(b, l)
}

// Unmarshal is Read for bytes in memory. The tensors' Data are parts of b, not copies.
func Unmarshal(b []byte, l Limits) ([]Tensor, map[string]string, error) {
	if int64(len(b)) > l.TotalBytes {
		return nil, nil, fmt.Errorf("%w: longer than the %d bytes allowed", ErrFormat, l.TotalBytes)
	}
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("%w: %d bytes are too few", ErrFormat, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(l.HeaderBytes) || n > uint64(len(b)-8) {
		return nil, nil, fmt.Errorf("%w: a header of %d bytes in a file of %d, at most %d are allowed", ErrFormat, n, len(b), l.HeaderBytes)
	}
	header, data := b[8:8+n], b[8+n:]
	if len(header) < 2 || header[0] != '{' || !utf8.Valid(header) {
		return nil, nil, fmt.Errorf("%w: the header is not a JSON object", ErrFormat)
	}
	entries, meta, err := decodeHeader(header, l)
	if err != nil {
		return nil, nil, err
	}
	tensors, err := slice(entries, data, l)
	if err != nil {
		return nil, nil, err
	}
	return tensors, meta, nil
}

type named struct {
	name string
	entry
}

// slice gives each entry its part of the data.
func slice(entries []named, data []byte, l Limits) ([]Tensor, error) {
	spans, err := cover(entries, int64(len(data)), l)
	if err != nil {
		return nil, err
	}
	tensors := make([]Tensor, len(spans))
	for i, s := range spans {
		tensors[i] = s.Tensor
		tensors[i].Data = data[s.Begin:s.End:s.End]
	}
	return tensors, nil
}

// cover puts the entries in the order of their data, n bytes, and makes sure that they cover
// them exactly. Its spans count from the beginning of the data.
func cover(entries []named, n int64, l Limits) ([]Span, error) {
	slices.SortStableFunc(entries, func(a, b named) int {
		return cmp.Or(cmp.Compare(a.Offsets[0], b.Offsets[0]), cmp.Compare(a.Offsets[1], b.Offsets[1]))
	})
	spans := make([]Span, 0, len(entries))
	var at int64
	for _, e := range entries {
		begin, end := e.Offsets[0], e.Offsets[1]
		if begin != at || end < begin || end > n {
			return nil, fmt.Errorf("%w: tensor %q lies at [%d,%d), expected from %d and within %d: overlap, hole or wrong order", ErrFormat, e.name, begin, end, at, n)
		}
		s := Span{Tensor: Tensor{Name: e.name, DType: e.DType, Shape: e.Shape}, Begin: begin, End: end}
		if err := s.check(l, end-begin); err != nil {
			return nil, err
		}
		spans = append(spans, s)
		at = end
	}
	if at != n {
		return nil, fmt.Errorf("%w: %d bytes at the end belong to no tensor", ErrFormat, n-at)
	}
	return spans, nil
}

// ReadHeader reads the header of a file of this many bytes, and no further: what lies where.
func ReadHeader(r io.Reader, size int64, l Limits) ([]Span, error) {
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("read safetensors: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > uint64(l.HeaderBytes) || size > l.TotalBytes || size < 8 || n > uint64(size-8) {
		return nil, fmt.Errorf("%w: a header of %d bytes in a file of %d; at most %d and %d are allowed", ErrFormat, n, size, l.HeaderBytes, l.TotalBytes)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("read safetensors: %w", err)
	}
	if len(header) < 2 || header[0] != '{' || !utf8.Valid(header) {
		return nil, fmt.Errorf("%w: the header is not a JSON object", ErrFormat)
	}
	entries, _, err := decodeHeader(header, l)
	if err != nil {
		return nil, err
	}
	data := 8 + int64(n)
	spans, err := cover(entries, size-data, l)
	for i := range spans {
		spans[i].Begin, spans[i].End = spans[i].Begin+data, spans[i].End+data
	}
	return spans, err
}

// decodeHeader reads the JSON token by token, for encoding/json would let a doubled name
// win over the first.
func decodeHeader(header []byte, l Limits) (entries []named, meta map[string]string, err error) {
	d := json.NewDecoder(bytes.NewReader(header))
	err = object(d, func(name string) error {
		if name == metadataKey {
			meta, err = decodeMeta(d)
			return err
		}
		if len(entries) >= l.Tensors {
			return fmt.Errorf("%w: more than %d tensors", ErrFormat, l.Tensors)
		}
		if len(name) > l.NameBytes { // before it stands in any error
			return fmt.Errorf("%w: tensor name %.80q: must have 1 to %d bytes", ErrFormat, name, l.NameBytes)
		}
		e, err := decodeEntry(d, l)
		if err != nil {
			return fmt.Errorf("tensor %.80q: %w", name, err)
		}
		entries = append(entries, named{name, e})
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if rest := header[d.InputOffset():]; len(bytes.Trim(rest, " ")) != 0 {
		return nil, nil, fmt.Errorf("%w: something other than spaces follows the header's JSON", ErrFormat)
	}
	return entries, meta, nil
}

// maxMeta is how many metadata a file may have; PyTorch writes one.
const maxMeta = 10_000

func decodeMeta(d *json.Decoder) (map[string]string, error) {
	meta := map[string]string{}
	err := object(d, func(key string) error {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		s, ok := t.(string)
		if !ok {
			return fmt.Errorf("%w: metadata %.80q is not a string", ErrFormat, key)
		}
		if len(meta) == maxMeta {
			return fmt.Errorf("%w: more than %d metadata", ErrFormat, maxMeta)
		}
		meta[key] = s
		return nil
	})
	return meta, err
}

func decodeEntry(d *json.Decoder, l Limits) (e entry, err error) {
	fields := 0
	err = object(d, func(key string) error {
		fields++
		switch key {
		case "dtype":
			t, err := d.Token()
			if err != nil {
				return fmt.Errorf("%w: %w", ErrFormat, err)
			}
			s, ok := t.(string)
			if !ok {
				return fmt.Errorf("%w: dtype is not a string", ErrFormat)
			}
			e.DType = s
			return nil
		case "shape":
			e.Shape, err = integers(d, l.Dims)
			return err
		case "data_offsets":
			offsets, err := integers(d, 2)
			if err == nil && len(offsets) != 2 {
				err = fmt.Errorf("%w: data_offsets must be two numbers", ErrFormat)
			}
			if err == nil {
				e.Offsets = [2]int64(offsets)
			}
			return err
		}
		return fmt.Errorf("%w: unknown field %.80q", ErrFormat, key)
	})
	if err == nil && fields != 3 {
		err = fmt.Errorf("%w: dtype, shape and data_offsets are needed", ErrFormat)
	}
	return e, err
}

// object reads a JSON object and calls member for each name, which must read the value.
// A doubled name is refused.
func object(d *json.Decoder, member func(name string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		name, ok := t.(string)
		if !ok || seen[name] {
			return fmt.Errorf("%w: name %.80v is doubled or no string", ErrFormat, t)
		}
		seen[name] = true
		if err := member(name); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

// integers reads a JSON array of at most limit integers that are not negative.
func integers(d *json.Decoder, limit int) ([]int64, error) {
	if err := delim(d, '['); err != nil {
		return nil, err
	}
	ns := []int64{}
	d.UseNumber()
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		number, _ := t.(json.Number)
		n, err := number.Int64()
		if err != nil || n < 0 || len(ns) >= limit {
			return nil, fmt.Errorf("%w: want at most %d whole numbers from 0, found %.40v", ErrFormat, limit, t)
		}
		ns = append(ns, n)
	}
	return ns, delim(d, ']')
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if t != want {
		return fmt.Errorf("%w: expected %v, found %.40v", ErrFormat, want, t)
	}
	return nil
}
