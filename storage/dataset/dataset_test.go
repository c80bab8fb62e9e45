package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/sealed"
)

// options for small files: everything into training unless split says otherwise.
func options(split string) Options {
	o := DefaultOptions()
	o.Label = "y"
	var err error
	if o.Split, err = ParseSplit(split); err != nil {
		panic(err)
	}
	return o
}

func convert(t *testing.T, csv string, o Options) (Manifest, Report, error) {
	t.Helper()
	return FromCSV(t.Context(), strings.NewReader(csv), o, func(string, []byte) error { return nil })
}

func read(t *testing.T, s storage.Store, split string) *Table {
	t.Helper()
	d, err := Open(t.Context(), s, "datasets/d")
	if err != nil {
		t.Fatal(err)
	}
	tab, err := d.Split(t.Context(), split)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestClearErrors(t *testing.T) {
	for name, c := range map[string]struct {
		csv    string
		change func(*Options)
		want   []string
	}{
		"ragged":         {"a,b,y\n1,2,0\n1,2\n1,2,1\n1,2,3,1\n", nil, []string{"2 bad rows", "line 3: has 2 cells instead of 3", "line 5: has 4 cells", "--max-bad-rows 2"}},
		"no number":      {"a,y\n1,0\n2,0\nx,1\n3,1\n", nil, []string{`line 4, column a: "x" is not a number`}},
		"missing":        {"a,y\n1,0\n,1\n3,1\n3,0\n", nil, []string{"line 3, column a: missing value", "--missing drop"}},
		"missing label":  {"a,y\n1,0\n2,NA\n3,1\n3,0\n", nil, []string{"line 3, column y: missing label"}},
		"infinite":       {"a,y\n1,0\n2,1\n1e39,1\n-inf,1\n", nil, []string{"line 4, column a", "line 5, column a", "not finite"}},
		"text column":    {"city,a,y\nParis,1,0\nRome,2,1\n", nil, []string{"hold text: city", `line 2, column city: "Paris"`, "--drop city"}},
		"empty column":   {"a,b,y\n1,,0\n2,,1\n", nil, []string{"no value at all: b", "--drop b"}},
		"no label":       {"a,b\n1,2\n", nil, []string{`no label column "y"`, "a, b"}},
		"semicolons":     {"a;b;y\n1;2;0\n", nil, []string{`parted by ';'`, "--comma ';'"}},
		"tabs":           {"a\tb\ty\n1\t2\t0\n", nil, []string{"--comma tab"}},
		"UTF-16":         {"\xff\xfea\x00,\x00y\x00", nil, []string{"the file is UTF-16", "UTF-8"}},
		"drop unknown":   {"a,y\n1,0\n", func(o *Options) { o.Drop = []string{"z"} }, []string{`no column "z" to drop`}},
		"no features":    {"a,y\n1,0\n", func(o *Options) { o.Drop = []string{"a"} }, []string{"no feature column"}},
		"empty file":     {"", nil, []string{"empty"}},
		"header only":    {"a,y\n", nil, []string{"no good row"}},
		"no header":      {"1,0\n2,1\n", nil, []string{"--no-header"}},
		"same names":     {"a,a,y\n1,1,0\n", nil, []string{`two columns are named "a"`}},
		"no name":        {"a,,y\n1,1,0\n", nil, []string{"column 2 has no name", `--drop "column 2"`}},
		"gzip":           {"\x1f\x8b\b\x00rest", nil, []string{"gunzip"}},
		"a workbook":     {"PK\x03\x04rest", nil, []string{"export the sheet as CSV"}},
		"Parquet":        {"PAR1rest", nil, []string{"Parquet"}},
		"JSON lines":     {`{"a": 1, "y": 0}` + "\n", nil, []string{"JSON, not CSV"}},
		"old Mac":        {"a,y\r1,0\r2,1\r", nil, []string{`tr '\r' '\n'`}},
		"Latin-1":        {"a,y\n1,gut\n2,s\xfc\xdf\n3,gut\n", nil, []string{"iconv -f LATIN1"}},
		"Latin-1 header": {"gr\xf6\xdfe,y\n1,0\n2,1\n", nil, []string{"iconv -f LATIN1"}},
		"comma in name":  {"\"mean, f0\",b,y\n1,2,0\n", func(o *Options) { o.Drop = []string{"c0"} }, []string{`the columns are "mean, f0", b, y`}},
		"label is NA":    {"a,y\n1,NA\n2,1\n3,0\n", nil, []string{`missing label ("NA" counts as none)`, "(for missing labels also --missing drop)"}},
		"one number":     {"a,y\n1,3.5\n2,3.5\n3,3.5\n", nil, []string{"all labels are the same"}},
		"stray quote":    {"a,y\n1,0\n\"2,1\n3,1\n", nil, []string{"line", "quotes"}},
		"shape":          {"a,b,y\n1,2,0\n", func(o *Options) { o.Shape = []int64{3} }, []string{"shape [3] has 3 values, the file has 2"}},
		"one class":      {"a,y\n1,0\n2,0\n", nil, []string{"all labels are the same"}},
		"too few rows":   {"a,y\n1,0\n2,1\n1,0\n2,1\n", func(o *Options) { o.Split = Ratio{80, 10, 10} }, []string{"split of 80/10/10 has no row"}},
		"bad label":      {"a,y\n1,0\n2,1\n3,x\n4,0\n5,1\n", nil, []string{`line 4, column y: bad label "x"`}},
		"text target":    {"a,y\n1,0.5\n2,1\n3,x\n", func(o *Options) { o.Task = TaskRegression }, []string{"line 4, column y: bad label"}},
		"many texts":     {"a,y\n" + manyTexts(150), nil, []string{"150 different texts", "--task classification"}},
		"many columns":   {"a,b,y\n1,2,0\n", func(o *Options) { o.Limits.Columns = 2 }, []string{"3 columns, at most 2"}},
		"too long":       {"a,y\n1,0\n2,1\n", func(o *Options) { o.Limits.Bytes = 5 }, []string{"more than the 5 bytes"}},
		"too many cells": {"a,y\n1,0\n2,1\n", func(o *Options) { o.Limits.Cells = 1 }, []string{"more than the 1 cells"}},
		"label dropped":  {"a,y\n1,0\n", func(o *Options) { o.Drop = []string{"y"} }, []string{"label and be dropped"}},
		"bad rows first": {"a,y\n1,gut\n2,s\xfc\xdf\n3,gut\n4,s\xfc\xdf\n", nil, []string{"2 bad rows", "line 3, column y", "not UTF-8"}},
		"bad rows allowed": {"a,y\n1,gut\n2,s\xfc\xdf\n3,gut\n4,s\xfc\xdf\n", func(o *Options) { o.MaxBadRows = 2 },
			[]string{"all labels are the same", "without the 2 bad rows, of which the first is line 3, column y: label", "not UTF-8"}},
		"no UTF-8": {"a,y\n1,0\n2,\xff\n", nil, []string{"not UTF-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options("1/0/0")
			if c.change != nil {
				c.change(&o)
			}
			wrote := false
			_, _, err := FromCSV(t.Context(), strings.NewReader(c.csv), o, func(string, []byte) error { wrote = true; return nil })
			if err == nil {
				t.Fatal("no error")
			}
			if wrote {
				t.Error("something was written")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func manyTexts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,name-%d\n", i, i)
	}
	return b.String()
}

func TestBadRowsAllowed(t *testing.T) {
	csv := "a,b,y\n1,2,0\n1,2\nx,2,1\n3,4,1\n5,,0\n6,7,\n8,9,0\n"
	o := options("1/0/0")
	o.MaxBadRows = 4
	s, m, r := store(t, []byte(csv), o)
	want := []string{
		"line 3: has 2 cells instead of 3", `line 4, column a: "x" is not a number`,
		"line 6, column b: missing value", "line 7, column y: missing label",
	}
	var got []string
	for _, p := range r.Bad {
		got = append(got, p.String())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	tab := read(t, s, Train)
	if d := cmp.Diff([]float32{1, 2, 3, 4, 8, 9}, tab.Features); d != "" {
		t.Error(d)
	}
	if m.Source.Rows != 7 || m.Source.BadRows != 4 || int64(tab.Rows)+m.Source.BadRows != m.Source.Rows {
		t.Errorf("rows are lost: %+v", m.Source)
	}
	o.MaxBadRows = 3
	_, _, err := convert(t, csv, o)
	if e, ok := errors.AsType[*BadRowsError](err); !ok || e.Rows != 4 || len(e.Problems) != 4 {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	csv := "a,b,y\n1,10,0\nNA,20,1\n3,?,0\n5,30,1\n"
	o := options("1/0/0")
	o.Missing = MissingDrop
	s, m, r := store(t, []byte(csv), o)
	if d := cmp.Diff([]float32{1, 10, 5, 30}, read(t, s, Train).Features); d != "" || m.Source.DroppedRows != 2 || r.Dropped[0].Line != 3 {
		t.Error(d, m.Source, r.Dropped)
	}
	o.Missing = MissingMean
	s, m, r = store(t, []byte(csv), o)
	if d := cmp.Diff([]float32{1, 10, 3, 20, 3, 20, 5, 30}, read(t, s, Train).Features); d != "" || m.Source.FilledCells != 2 {
		t.Error(d, m.Source)
	}
	if r.Columns[0].Missing != 1 || r.Columns[0].Type != "int" || r.Columns[2].Role != "label" {
		t.Errorf("%+v", r.Columns)
	}
	// A label is never made up.
	if _, _, err := convert(t, csv+"7,8,\n", o); err == nil || !strings.Contains(err.Error(), "missing label") {
		t.Error(err)
	}
}

func TestLabels(t *testing.T) {
	rows := func(labels ...string) string {
		var b strings.Builder
		b.WriteString("a,y\n")
		for i, l := range labels {
			fmt.Fprintf(&b, "%d,%s\n", i, l)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		csv     string
		task    Task
		want    Task
		names   []string
		labels  []int64
		targets []float32
	}{
		"integers":        {rows("1", "0", "2", "0", "1", "2"), "", TaskClassification, nil, []int64{1, 0, 2, 0, 1, 2}, nil},
		"floats as ints":  {rows("1.0", "0.0", "1", "+0"), "", TaskClassification, nil, []int64{1, 0, 1, 0}, nil},
		"from one":        {rows("2", "10", "1", "2", "10", "1"), "", TaskClassification, []string{"1", "2", "10"}, []int64{1, 2, 0, 1, 2, 0}, nil},
		"text":            {rows("dog", "cat", "Dog", "cat", "dog"), "", TaskClassification, []string{"Dog", "cat", "dog"}, []int64{2, 1, 0, 1, 2}, nil},
		"quoted":          {rows(`"a,b"`, "c", `"a,b"`, "c"), "", TaskClassification, []string{"a,b", "c"}, []int64{0, 1, 0, 1}, nil},
		"fractions":       {rows("0.5", "1", "2", "1"), "", TaskRegression, nil, nil, []float32{0.5, 1, 2, 1}},
		"many integers":   {rows("1", "20", "3", "40"), "", TaskRegression, nil, nil, []float32{1, 20, 3, 40}},
		"asked to class":  {rows("1", "20", "3", "40"), TaskClassification, TaskClassification, []string{"1", "3", "20", "40"}, []int64{0, 2, 1, 3}, nil},
		"asked to regres": {rows("1", "0", "1", "0"), TaskRegression, TaskRegression, nil, nil, []float32{1, 0, 1, 0}},
		"codes":           {rows("007", "1", "01", "007", "1", "01"), "", TaskClassification, []string{"007", "01", "1"}, []int64{0, 2, 1, 0, 2, 1}, nil},
		"codes, asked":    {rows("01", "1", "1.0"), TaskClassification, TaskClassification, []string{"01", "1", "1.0"}, []int64{0, 1, 2}, nil},
		"many codes":      {rows("001", "020", "003", "040"), "", TaskRegression, nil, nil, []float32{1, 20, 3, 40}},
		"mixed as class":  {rows("1", "0", "x", "0"), TaskClassification, TaskClassification, []string{"0", "1", "x"}, []int64{1, 0, 2, 0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := options("1/0/0")
			o.Task = c.task
			s, m, r := store(t, []byte(c.csv), o)
			tab := read(t, s, Train)
			if m.Task != c.want || (c.task == "") != (r.TaskReason != "") {
				t.Errorf("task %s because %q", m.Task, r.TaskReason)
			}
			if d := cmp.Diff(c.names, m.ClassNames); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.labels, tab.Labels); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.targets, tab.Targets); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHeaderlessBOMAndSeparator(t *testing.T) {
	o := options("1/0/0")
	o.NoHeader, o.Label, o.Comma = true, "c2", ';'
	s, m, _ := store(t, []byte("\uFEFF1; 2 ;0\r\n3;\"4\";1\r\n\r\n"), func() Options { o.Task = TaskClassification; return o }())
	if d := cmp.Diff([]float32{1, 2, 3, 4}, read(t, s, Train).Features); d != "" || !slices.Equal(m.Features, []string{"c0", "c1"}) {
		t.Error(d, m.Features)
	}
	// As pandas writes its index, and as a comma at the end of each line reads.
	o = options("1/0/0")
	o.Drop = []string{"column 1", "column 4"}
	s, _, _ = store(t, []byte(",a,y,\n0,1,0,\n1,2,1,\n2,1,1,\n3,2,0,\n"), o)
	if d := cmp.Diff([]float32{1, 2, 1, 2}, read(t, s, Train).Features); d != "" {
		t.Error(d)
	}
	o = options("1/0/0")
	o.Drop = []string{"name"}
	s, _, _ = store(t, []byte("\uFEFFa,name,y\n1,x,0\n2,y,1\n1,x,1\n2,z,0\n"), o)
	if d := cmp.Diff([]float32{1, 2, 1, 2}, read(t, s, Train).Features); d != "" {
		t.Error(d)
	}
}

func TestDuplicates(t *testing.T) {
	_, r, err := convert(t, "a,y\n"+strings.Repeat("1,0\n2,1\n", 10), options("50/25/25"))
	if err != nil || r.Duplicates != 18 || r.Leaked != 10 {
		t.Errorf("%d duplicates, %d leaked, %v", r.Duplicates, r.Leaked, err)
	}
}

// The same file and options give the same bytes; another seed gives another split.
func TestDeterministic(t *testing.T) {
	sum := func(seed uint64) string {
		o := DefaultOptions()
		o.Label, o.Seed, o.Normalize.Method = "label", seed, MethodStandard
		s, _, _ := store(t, digits(t), o)
		h := sha256.New()
		for _, k := range s.Keys() {
			b, err := s.Bytes(k)
			if err != nil {
				t.Fatal(err)
			}
			h.Write(b)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	// The sum pins the format and the split on every machine.
	const want = "8a4b693e57e9077ddc389c33e24d103943ca0c1e92b00c819506b1c374a2f116"
	if got := sum(1); got != want {
		t.Errorf("sum %s, want %s", got, want)
	}
	if sum(2) == want {
		t.Error("another seed gives the same dataset")
	}
}

// Whatever is done to validation and test rows, nothing that training sees may change.
func TestNoLeakFromTest(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(string(digits(t))), "\n")
	for _, method := range []Method{MethodStandard, MethodStandardGlobal, MethodMinMax, MethodMinMaxGlobal} {
		o := DefaultOptions()
		o.Label, o.Seed, o.Normalize.Method = "label", 3, method
		_, m, _ := store(t, []byte(strings.Join(lines, "\n")), o)
		changed := slices.Clone(lines)
		n := 0
		labels := make([]int64, 0, len(lines))
		for _, l := range lines[1:] {
			labels = append(labels, int64(l[len(l)-1]-'0'))
		}
		parts := split(labels, 10, o.Split, o.Seed)
		for _, r := range slices.Concat(parts[1], parts[2]) {
			line := changed[r+1]
			changed[r+1] = strings.Repeat("9999,", 64) + line[len(line)-1:]
			n++
		}
		_, m2, _ := store(t, []byte(strings.Join(changed, "\n")), o)
		if n != 360 {
			t.Fatalf("%d rows changed", n)
		}
		if d := cmp.Diff(m.Stats, m2.Stats); d != "" {
			t.Errorf("%s: statistics changed:\n%s", method, d)
		}
		if d := cmp.Diff(m.Normalization, m2.Normalization); d != "" {
			t.Errorf("%s: normalisation changed:\n%s", method, d)
		}
		if m.Splits[0].Shards[0].SHA256 != m2.Splits[0].Shards[0].SHA256 || m.Splits[2].Shards[0].SHA256 == m2.Splits[2].Shards[0].SHA256 {
			t.Errorf("%s: training rows changed, or test rows did not", method)
		}
		// The check can fail: one training row does change the statistics.
		row := parts[0][0] + 1
		changed = slices.Clone(lines)
		changed[row] = strings.Repeat("9999,", 64) + lines[row][len(lines[row])-1:]
		if _, m3, _ := store(t, []byte(strings.Join(changed, "\n")), o); cmp.Equal(m.Stats, m3.Stats) {
			t.Errorf("%s: a changed training row went unnoticed", method)
		}
	}
}

func TestSplitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		classes := rapid.IntRange(1, 8).Draw(t, "classes")
		groups := rapid.SliceOfN(rapid.Int64Range(0, int64(classes-1)), 1, 300).Draw(t, "groups")
		ratio := Ratio{rapid.IntRange(1, 90).Draw(t, "train"), rapid.IntRange(0, 30).Draw(t, "validation"), rapid.IntRange(0, 30).Draw(t, "test")}
		parts := split(groups, classes, ratio, rapid.Uint64().Draw(t, "seed"))
		seen := map[int]bool{}
		inTrain := map[int64]bool{}
		for i, part := range parts {
			if !slices.IsSorted(part) {
				t.Fatal("rows out of order")
			}
			if ratio[i] == 0 && len(part) > 0 {
				t.Fatalf("split %d of %v has %d rows", i, ratio, len(part))
			}
			for _, r := range part {
				if seen[r] {
					t.Fatalf("row %d is in two splits", r)
				}
				seen[r] = true
				if i == 0 {
					inTrain[groups[r]] = true
				}
			}
			want := float64(len(groups)) * float64(ratio[i]) / float64(ratio[0]+ratio[1]+ratio[2])
			if got := float64(len(part)); math.Abs(got-want) > float64(classes)+1 {
				t.Fatalf("split %d of %v has %v rows of %d, want about %.1f", i, ratio, got, len(groups), want)
			}
		}
		if len(seen) != len(groups) {
			t.Fatalf("%d of %d rows are in a split", len(seen), len(groups))
		}
		for _, g := range groups {
			if !inTrain[g] {
				t.Fatalf("class %d is not in training", g)
			}
		}
	})
}

func TestShardsOfLimitedSize(t *testing.T) {
	o := DefaultOptions()
	o.Label, o.Limits.ShardBytes = "label", 264*100 // 100 rows
	s, m, _ := store(t, digits(t), o)
	if n := len(m.Splits[0].Shards); n != 15 {
		t.Errorf("%d shards of 1437 rows", n)
	}
	o.Limits.ShardBytes = 64 << 20
	whole, _, _ := store(t, digits(t), o)
	if d := cmp.Diff(read(t, whole, Train), read(t, s, Train)); d != "" {
		t.Error("shards give other rows than one file")
	}
	checkCopy(t, s)
}

// checkCopy copies datasets/d and compares what is there then.
func checkCopy(t testing.TB, s *memstore.Store) {
	t.Helper()
	if err := copyDataset(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, key := range s.Keys() {
		name, ok := strings.CutPrefix(key, "datasets/d/")
		if !ok {
			continue
		}
		want, err := s.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Bytes("copy/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the copy of %s has other bytes: %v", name, err)
		}
	}
}

func copyDataset(ctx context.Context, s *memstore.Store) error {
	manifest, err := s.Bytes("datasets/d/" + ManifestName)
	if err != nil {
		return err
	}
	_, err = Copy(ctx, s, manifest, "datasets/d", "copy")
	return err
}

func TestDamageIsRefused(t *testing.T) {
	s, _, _ := store(t, []byte("a,y\n"+strings.Repeat("1,0\n2,1\n", 20)), options("80/10/10"))
	for _, key := range s.Keys() {
		b, err := s.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		for bit := 0; bit < 8*len(b); bit += 41 {
			if err := s.Flip(key, bit); err != nil {
				t.Fatal(err)
			}
			if err := copyDataset(t.Context(), s); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("bit %d of %s: %v", bit, key, err)
			}
			if err := s.Flip(key, bit); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Delete(t.Context(), "datasets/d/train-00000.arrow"); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), s, "datasets/d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Split(t.Context(), Train); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a missing shard: %v", err)
	}
	if _, err := d.Split(t.Context(), "training"); err == nil || !strings.Contains(err.Error(), "validation") {
		t.Errorf("an unknown split: %v", err)
	}
	if _, err := Open(t.Context(), s, "datasets/none"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("no dataset: %v", err)
	}
}

// A shard whose sha256 is right but whose labels are not must not reach a model.
func TestLabelsOutOfRange(t *testing.T) {
	for name, tab := range map[string]Table{
		"too high":    {Rows: 1, FeatureDim: 1, Features: []float32{1}, Labels: []int64{2}},
		"negative":    {Rows: 1, FeatureDim: 1, Features: []float32{1}, Labels: []int64{-1}},
		"NaN feature": {Rows: 1, FeatureDim: 1, Features: []float32{float32(math.NaN())}, Labels: []int64{1}},
	} {
		s, m, _ := store(t, []byte("a,y\n"+strings.Repeat("1,0\n2,1\n", 2)), options("1/0/0"))
		b, err := encodeShard(tab, TaskClassification)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		m.Splits[0].Rows, m.Splits[0].ClassCounts = 1, []int64{0, 1}
		m.Splits[0].Shards = []Shard{{Key: "train-00000.arrow", SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(b)), Rows: 1}}
		j, err := sealed.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		s.Overwrite("datasets/d/train-00000.arrow", b)
		s.Overwrite("datasets/d/manifest.json", j)
		d, err := Open(t.Context(), s, "datasets/d")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Split(t.Context(), Train); !errors.Is(err, ErrCorrupt) || strings.HasPrefix(name, "too") && !strings.Contains(err.Error(), "label 2 is out of range") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSinkAndContext(t *testing.T) {
	planned := errors.New("planned")
	_, _, err := FromCSV(t.Context(), bytes.NewReader(digits(t)), func() Options { o := DefaultOptions(); o.Label = "label"; return o }(),
		func(name string, _ []byte) error {
			if strings.HasPrefix(name, Test) {
				return planned
			}
			if name == ManifestName {
				t.Error("committed after a failure")
			}
			return nil
		})
	if !errors.Is(err, planned) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := DefaultOptions()
	o.Label = "label"
	if _, _, err := FromCSV(ctx, bytes.NewReader(digits(t)), o, sinkTo(ctx, memstore.New(memstore.Config{}))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
