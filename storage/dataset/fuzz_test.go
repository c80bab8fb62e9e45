package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage/memstore"
	"tandem.dev/storage/sealed"
)

func FuzzFromCSV(f *testing.F) {
	for _, s := range []string{
		"a,b,y\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n", "a,y\n1,x\n2,z\n3,x\n4,z\n", "a,y\n1,0.5\n2,1.5\n", "y,a\n0,\n1,NaN\n0,1e40\n",
		"a;y\n1;0\n", "\uFEFFa,y\r\n1,0\r\n", "\"a\nb\",y\n1,0\n2,1\n1,0\n2,1\n", "a,y\n\"1,0\n", "a,y\n1,0,\n,\n\n,,\n", "0x1p-2,y\n1_0,0\n", "\xff\xfe", "",
		strings.Repeat("a,", 70_000) + "y\n1\n", "a,y\n\"" + strings.Repeat("1", 70_000), strings.Repeat("\n", 70_000), strings.Repeat(`""`, 35_000),
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, csv []byte, lenient bool) {
		o := options("60/20/20")
		o.Limits = Limits{Bytes: 1 << 16, Cells: 1 << 14, Columns: 64, Classes: 64, ShardBytes: 1000}
		if lenient {
			o.MaxBadRows, o.Missing, o.Split = 1000, MissingMean, Ratio{1, 0, 0}
		}
		s := memstore.New(memstore.Config{})
		m, _, err := FromCSV(t.Context(), bytes.NewReader(csv), o, sinkTo(t.Context(), s))
		if err != nil {
			return
		}
		var kept int64
		for _, sp := range m.Splits {
			kept += sp.Rows
		}
		if kept+m.Source.BadRows+m.Source.DroppedRows != m.Source.Rows {
			t.Errorf("rows are lost: %d kept, %+v", kept, m.Source)
		}
		if err := copyDataset(t.Context(), s); err != nil {
			t.Errorf("what was made cannot be read: %v", err)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	s := memstore.New(memstore.Config{})
	m, _, err := FromCSV(f.Context(), strings.NewReader("a,y\n1,0\n2,1\n3,0\n4,1\n"), options("1/1/0"), sinkTo(f.Context(), s))
	if err != nil {
		f.Fatal(err)
	}
	add := func(m Manifest) {
		b, err := sealed.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(m)
	for _, change := range []func(*Manifest){
		func(m *Manifest) { m.Format = "x" },
		func(m *Manifest) { m.FormatVersion = 2 },
		func(m *Manifest) { m.Shape = []int64{1 << 40, 1 << 40} },
		func(m *Manifest) { m.Shape = nil },
		func(m *Manifest) { m.Task = "x" },
		func(m *Manifest) { m.NumClasses = -1 },
		func(m *Manifest) { m.Splits = nil },
		func(m *Manifest) { m.Splits = []Split{m.Splits[1], m.Splits[0], m.Splits[2]} },
		func(m *Manifest) {
			m.Normalization = Normalization{Method: MethodScale, Offset: []float32{1}, Scale: []float32{0}}
		},
	} {
		c := m
		change(&c)
		b, err := sealed.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := ParseManifest(b); !errors.Is(err, ErrCorrupt) {
			f.Errorf("accepted: %s", b)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if again, err := sealed.Marshal(m); err != nil || !bytes.Equal(again, b) {
			t.Errorf("read, but written differently: %v", err)
		}
	})
}

func FuzzDecodeShard(f *testing.F) {
	class := Table{Rows: 2, FeatureDim: 3, Features: []float32{1, 2, 3, 4, 5, 6}, Labels: []int64{0, 1}}
	regress := Table{Rows: 2, FeatureDim: 3, Features: class.Features, Targets: []float32{0.5, 1}}
	text := Table{Rows: 2, FeatureDim: 3, Text: []byte("an apple")}
	for task, t := range map[Task]Table{TaskClassification: class, TaskRegression: regress, TaskLanguage: text} {
		b, err := encodeShard(t, task)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		for n := 1; n < 8; n++ { // torn
			f.Add(b[:len(b)*n/8])
		}
		for i := 0; i < len(b); i += 17 { // damaged
			c := bytes.Clone(b)
			c[i] ^= 0xff
			f.Add(c)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, task := range []Task{TaskClassification, TaskRegression, TaskLanguage} {
			tab, err := decodeShard(b, 2, 3, task, 2)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("error of another kind: %v", err)
				}
				continue
			}
			if err := tab.check(task, 2); err != nil {
				t.Errorf("a bad table came out: %v", err)
			}
			if err := readable(b, tab); err != nil {
				t.Errorf("other tools cannot read it: %v", err)
			}
		}
	})
}

// readable has the Arrow library read a shard, as any other tool would.
func readable(b []byte, want Table) error {
	r, err := ipc.NewFileReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer r.Close()
	if r.NumRecords() != 1 {
		return fmt.Errorf("%d record batches", r.NumRecords())
	}
	rec, err := r.RecordBatch(0)
	if err != nil {
		return err
	}
	lists := rec.Column(0).(*array.FixedSizeList)
	if text, ok := lists.ListValues().(*array.Uint8); ok {
		if rec.NumCols() != 1 || !bytes.Equal(text.Uint8Values(), want.Text) || lists.Len() != want.Rows {
			return fmt.Errorf("text %q, want %q", text.Uint8Values(), want.Text)
		}
		return nil
	}
	if got := lists.ListValues().(*array.Float32).Float32Values(); !slices.Equal(got, want.Features) || lists.Len() != want.Rows {
		return fmt.Errorf("features %v, want %v", got, want.Features)
	}
	switch c := rec.Column(1).(type) {
	case *array.Int64:
		if !slices.Equal(c.Int64Values(), want.Labels) {
			return fmt.Errorf("labels %v, want %v", c.Int64Values(), want.Labels)
		}
	case *array.Float32:
		if !slices.Equal(c.Float32Values(), want.Targets) {
			return fmt.Errorf("targets %v, want %v", c.Float32Values(), want.Targets)
		}
	}
	return nil
}

func TestShardIsArrow(t *testing.T) {
	for _, dim := range []int{1, 3, 64} {
		for _, rows := range []int{1, 2, 7, 100} {
			tab := Table{Rows: rows, FeatureDim: dim, Features: make([]float32, rows*dim)}
			for i := range tab.Features {
				tab.Features[i] = float32(i) / 3
			}
			for _, task := range []Task{TaskClassification, TaskRegression, TaskLanguage} {
				tab.Labels, tab.Targets = nil, nil
				if task == TaskLanguage {
					tab = Table{Rows: rows, FeatureDim: dim, Text: bytes.Repeat([]byte("a\xff"), rows*(dim+1))[:rows*(dim+1)]}
				} else if task == TaskRegression {
					tab.Targets = tab.Features[:rows]
				} else {
					tab.Labels = make([]int64, rows)
					tab.Labels[rows-1] = 1
				}
				b, err := encodeShard(tab, task)
				if err != nil {
					t.Fatal(err)
				}
				if err := readable(b, tab); err != nil {
					t.Errorf("%d rows of %d, %s: %v", rows, dim, task, err)
				}
				got, err := decodeShard(b, int64(rows), dim, task, 2)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tab, got); d != "" {
					t.Error(d)
				}
			}
		}
	}
}

// Found by fuzzing: an Arrow reader would ask for 29 GB to read a list of this length.
func TestShardWithHugeLengths(t *testing.T) {
	b, err := encodeShard(Table{Rows: 2, FeatureDim: 3, Features: []float32{1, 2, 3, 4, 5, 6}, Labels: []int64{0, 1}}, TaskClassification)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+4 <= len(b); i += 4 {
		c := bytes.Clone(b)
		copy(c[i:], "\xff\xff\xff\x6f")
		if tab, err := decodeShard(c, 2, 3, TaskClassification, 2); err == nil && cmp.Equal(tab.Labels, []int64{0, 1}) && cmp.Equal(tab.Features[:6], []float32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("length at %d: accepted", i)
		}
	}
}
