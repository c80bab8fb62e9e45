package safetensors

import (
	"fmt"
	"io"
	"sort"
)

// File is the file that Write would write, read out of the tensors' own memory instead of a copy.
type File struct {
	parts   [][]byte // the header, then the data of each tensor
	offsets []int64  // where each part begins
	size    int64
}

// NewFile makes the file of these tensors. Their Data must not change while it is in use.
func NewFile(tensors []Tensor, meta map[string]string) (*File, error) {
	header, err := encodeHeader(tensors, meta)
	if err != nil {
		return nil, fmt.Errorf("write safetensors: %w", err)
	}
	f := &File{}
	f.add(header)
	for _, t := range tensors {
		f.add(t.Data)
	}
	return f, nil
}

func (f *File) add(part []byte) {
	if len(part) > 0 {
		f.parts, f.offsets = append(f.parts, part), append(f.offsets, f.size)
		f.size += int64(len(part))
	}
}

// Size returns the bytes of the file.
func (f *File) Size() int64 { return f.size }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read safetensors: negative offset %d", off)
	}
	n := 0
	for i := sort.Search(len(f.offsets), func(i int) bool { return f.offsets[i] > off }) - 1; i >= 0 && i < len(f.parts) && n < len(p); i++ {
		if at := off + int64(n) - f.offsets[i]; at < int64(len(f.parts[i])) {
			n += copy(p[n:], f.parts[i][at:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteTo implements io.WriterTo.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for _, part := range f.parts {
		wrote, err := w.Write(part)
		n += int64(wrote)
		if err != nil {
			return n, fmt.Errorf("write safetensors: %w", err)
		}
	}
	return n, nil
}
