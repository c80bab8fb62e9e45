package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// file builds a file by hand: the format's eight bytes of length, a header, the data.
func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// golden follows the specification byte by byte; nothing of it comes from this package.
func golden() []byte {
	header := `{"__metadata__":{"by":"hand"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}`
	for len(header)%8 != 0 {
		header += " "
	}
	return file(header, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 7) // 1.0, -2.0; 7
}

func goldenTensors() []Tensor {
	return []Tensor{
		{Name: "a", DType: "F32", Shape: []int64{2}, Data: []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}},
		{Name: "b", DType: "U8", Shape: []int64{}, Data: []byte{7}},
	}
}

func TestGolden(t *testing.T) {
	meta := map[string]string{"by": "hand"}
	var w bytes.Buffer
	if err := Write(&w, goldenTensors(), meta); err != nil || !bytes.Equal(w.Bytes(), golden()) {
		t.Errorf("written: %v\n%q, want\n%q", err, w.Bytes(), golden())
	}
	if b, err := Marshal(goldenTensors(), meta); err != nil || !bytes.Equal(b, golden()) {
		t.Errorf("marshalled: %v\n%q", err, b)
	}
	got, gotMeta, err := Read(bytes.NewReader(golden()), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(goldenTensors(), got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(meta, gotMeta); d != "" {
		t.Error(d)
	}
}

// Other writers may order the header as they like.
func TestHeaderInAnyOrder(t *testing.T) {
	b := file(`{"b":{"shape":[],"data_offsets":[8,9],"dtype":"U8"},"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}}`, golden()[len(golden())-9:]...)
	got, meta, err := Unmarshal(b, DefaultLimits())
	if err != nil || meta != nil {
		t.Fatal(meta, err)
	}
	if d := cmp.Diff(goldenTensors(), got); d != "" {
		t.Error(d)
	}
}

// manyNames is the middle of an object with n names.
func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	return strings.Join(names, `":"","`)
}

func refused() map[string][]byte {
	one := func(entry string, data ...byte) []byte { return file(`{"a":`+entry+`}`, data...) }
	return map[string][]byte{
		"empty":                {},
		"short":                {1, 2, 3},
		"no header":            file(""),
		"header too long":      binary.LittleEndian.AppendUint64(nil, 1<<63),
		"header beyond end":    binary.LittleEndian.AppendUint64(nil, 10),
		"not an object":        file(`[]`),
		"space first":          file(` {}`),
		"not JSON":             file(`{"a"`),
		"bytes after JSON":     file(`{}x`),
		"two objects":          file(`{}{}`),
		"no UTF-8":             file("{\"\xff\":1}"),
		"data of no tensor":    file(`{}`, 1),
		"hole at start":        one(`{"dtype":"U8","shape":[1],"data_offsets":[1,2]}`, 1, 2),
		"hole at end":          one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`, 1, 2),
		"beyond end":           one(`{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`, 1),
		"backwards":            one(`{"dtype":"U8","shape":[1],"data_offsets":[1,0]}`, 1),
		"negative offset":      one(`{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}`, 1),
		"huge offset":          one(`{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551615]}`, 1),
		"fraction":             one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}`, 1),
		"three offsets":        one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}`, 1),
		"one offset":           one(`{"dtype":"U8","shape":[1],"data_offsets":[0]}`, 1),
		"wrong size":           one(`{"dtype":"F32","shape":[1],"data_offsets":[0,1]}`, 1),
		"unknown dtype":        one(`{"dtype":"U4","shape":[1],"data_offsets":[0,1]}`, 1),
		"dtype is a number":    one(`{"dtype":8,"shape":[1],"data_offsets":[0,1]}`, 1),
		"negative dimension":   one(`{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}`, 1),
		"size overflows":       one(`{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}`),
		"overflow with zero":   one(`{"dtype":"F64","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]}`),
		"no dtype":             one(`{"shape":[1],"data_offsets":[0,1]}`, 1),
		"unknown field":        one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}`, 1),
		"field in other case":  one(`{"DTYPE":"U8","shape":[1],"data_offsets":[0,1]}`, 1),
		"doubled field":        one(`{"dtype":"U8","dtype":"U8","data_offsets":[0,1]}`, 1),
		"doubled name":         file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
		"empty name":           file(`{"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
		"many metadata":        file(`{"__metadata__":{"` + manyNames(10_001) + `":""}}`),
		"deep entry":           file(`{"a":` + strings.Repeat("[", 10_000)),
		"deep shape":           one(`{"dtype":"U8","shape":` + strings.Repeat("[", 10_000)),
		"deep metadata":        file(`{"__metadata__":{"a":` + strings.Repeat(`{"a":`, 10_000)),
		"endless name":         file(`{"` + strings.Repeat("a", 100_000) + `":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`),
		"overlap":              file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 1, 2, 3),
		"metadata of numbers":  file(`{"__metadata__":{"a":1}}`),
		"metadata is a string": file(`{"__metadata__":"a"}`),
		"doubled metadata":     file(`{"__metadata__":{},"__metadata__":{}}`),
		"many dimensions":      one(`{"dtype":"U8","shape":[` + strings.Repeat("1,", 16) + `1],"data_offsets":[0,0]}`),
		"long name":            file(`{"` + strings.Repeat("n", 513) + `":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
		"deep":                 file(strings.Repeat(`{"a":`, 1000)),
	}
}

func TestRefused(t *testing.T) {
	for name, b := range refused() {
		if got, _, err := Unmarshal(b, DefaultLimits()); !errors.Is(err, ErrFormat) || got != nil || len(err.Error()) > 500 {
			t.Errorf("%s: %v, error %.500v", name, got, err)
		}
	}
}

func TestLimits(t *testing.T) {
	ok := DefaultLimits()
	for name, change := range map[string]func(*Limits){
		"header":  func(l *Limits) { l.HeaderBytes = 50 },
		"tensors": func(l *Limits) { l.Tensors = 1 },
		"name":    func(l *Limits) { l.NameBytes = 0 },
		"dims":    func(l *Limits) { l.Dims = 0 },
		"total":   func(l *Limits) { l.TotalBytes = int64(len(golden())) - 1 },
	} {
		l := ok
		change(&l)
		if _, _, err := Read(bytes.NewReader(golden()), l); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A stream without end stops at the limit.
	l := ok
	l.TotalBytes = 1000
	endless := io.MultiReader(bytes.NewReader(golden()), zeros{})
	if _, _, err := Read(endless, l); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWriteRefuses(t *testing.T) {
	good := Tensor{Name: "a", DType: "U8", Shape: []int64{1}, Data: []byte{1}}
	for name, change := range map[string]func(*Tensor){
		"no name":  func(t *Tensor) { t.Name = "" },
		"reserved": func(t *Tensor) { t.Name = "__metadata__" },
		"no UTF-8": func(t *Tensor) { t.Name = "\xff" },
		"dtype":    func(t *Tensor) { t.DType = "float" },
		"size":     func(t *Tensor) { t.Data = nil },
		"doubled":  func(*Tensor) {},
	} {
		bad := good
		change(&bad)
		if err := Write(io.Discard, []Tensor{good, bad}, nil); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	dtypes := []string{"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
	rapid.Check(t, func(t *rapid.T) {
		var want []Tensor
		for i := range rapid.IntRange(0, 6).Draw(t, "tensors") {
			d := rapid.SampledFrom(dtypes).Draw(t, "dtype")
			shape := rapid.SliceOfN(rapid.Int64Range(0, 4), 0, 3).Draw(t, "shape")
			n, err := Size(d, shape)
			if err != nil {
				t.Fatal(err)
			}
			data := rapid.SliceOfN(rapid.Byte(), int(n), int(n)).Draw(t, "data")
			name := fmt.Sprintf("%d-%s", i, strings.ToValidUTF8(rapid.StringN(0, 20, 100).Draw(t, "name"), "?"))
			want = append(want, Tensor{name, d, shape, data})
		}
		b, err := Marshal(want, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := Unmarshal(b, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		byName := map[string]Tensor{}
		for _, g := range got {
			byName[g.Name] = g
		}
		if len(got) != len(want) {
			t.Fatalf("%d tensors became %d", len(want), len(got))
		}
		for _, w := range want {
			g := byName[w.Name]
			if g.DType != w.DType || !bytes.Equal(g.Data, w.Data) || fmt.Sprint(g.Shape) != fmt.Sprint(w.Shape) {
				t.Fatalf("%+v became %+v", w, g)
			}
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(golden())
	for _, b := range refused() {
		f.Add(b)
	}
	limits := DefaultLimits()
	limits.TotalBytes, limits.HeaderBytes = 1<<20, 1<<20
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, meta, err := Unmarshal(b, limits)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		again, err := Marshal(tensors, meta)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		got, gotMeta, err := Unmarshal(again, limits)
		if err != nil || !cmp.Equal(tensors, got) || !cmp.Equal(meta, gotMeta) {
			t.Errorf("what was written is read differently: %v", err)
		}
	})
}

func TestFileIsWhatWriteWrites(t *testing.T) {
	tensors := []Tensor{
		{Name: "a", DType: "U8", Shape: []int64{5}, Data: []byte{1, 2, 3, 4, 5}},
		{Name: "none", DType: "F32", Shape: []int64{0}, Data: []byte{}},
		{Name: "b", DType: "U8", Shape: []int64{3}, Data: []byte{6, 7, 8}},
	}
	want, err := Marshal(tensors, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFile(tensors, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if n, err := f.WriteTo(&all); n != f.Size() || err != nil || !bytes.Equal(all.Bytes(), want) {
		t.Errorf("wrote %d bytes of %d, %v", n, f.Size(), err)
	}
	if err := iotest.TestReader(io.NewSectionReader(f, 0, f.Size()), want); err != nil {
		t.Error(err)
	}
	spans, err := ReadHeader(bytes.NewReader(want), int64(len(want)), DefaultLimits())
	if err != nil || len(spans) != 3 {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	for i, s := range spans {
		if !bytes.Equal(want[s.Begin:s.End], tensors[i].Data) || s.Name != tensors[i].Name {
			t.Errorf("span %+v is not that of %+v", s, tensors[i])
		}
	}
	for _, n := range []int{0, 7, 8, 40} {
		if _, err := ReadHeader(bytes.NewReader(want[:n]), int64(len(want)), DefaultLimits()); err == nil {
			t.Errorf("%d bytes were taken for a header", n)
		}
	}
	if _, err := ReadHeader(bytes.NewReader(want), int64(len(want))-1, DefaultLimits()); !errors.Is(err, ErrFormat) {
		t.Errorf("a file that is too short: %v", err)
	}
}
