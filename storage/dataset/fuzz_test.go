package dataset

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"tandem.dev/storage/memstore"
	"tandem.dev/storage/sealed"
)

func FuzzFromCSV(f *testing.F) {
	for _, s := range []string{
		"a,b,y\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n", "a,y\n1,x\n2,z\n3,x\n4,z\n", "a,y\n1,0.5\n2,1.5\n", "y,a\n0,\n1,NaN\n0,1e40\n",
		"a;y\n1;0\n", "\uFEFFa,y\r\n1,0\r\n", "\"a\nb\",y\n1,0\n2,1\n1,0\n2,1\n", "a,y\n\"1,0\n", "a,y\n1,0,\n,\n\n,,\n", "0x1p-2,y\n1_0,0\n", "\xff\xfe", "",
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
		if _, err := Verify(t.Context(), s, "datasets/d"); err != nil {
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
	for task, t := range map[Task]Table{TaskClassification: class, TaskRegression: regress} {
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
		for _, task := range []Task{TaskClassification, TaskRegression} {
			tab, err := decodeShard(b, 3, task, 2)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("error of another kind: %v", err)
				}
				continue
			}
			if err := tab.check(task, 2); err != nil {
				t.Errorf("a bad table came out: %v", err)
			}
		}
	})
}
