package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage/dataset"
)

// TestPredictReadsWhatDatasetsAreMadeOf: every form of file that dataset create takes.
func TestPredictReadsWhatDatasetsAreMadeOf(t *testing.T) {
	for name, tc := range map[string]struct {
		csv string
		o   tableOptions
	}{
		"plain":                 {"a,b,y\n1,2,x\n3,4.5,z\n", tableOptions{}},
		"byte order mark":       {"\uFEFFa,b,y\n1,2,x\n3,4.5,z\n", tableOptions{}},
		"byte order mark first": {"\uFEFFy,a,b\nx,1,2\nz,3,4.5\n", tableOptions{}},
		"spaces":                {" a , b ,y \n 1 , 2 , x \n 3 ,4.5, z \n", tableOptions{}},
		"quotes and CRLF":       {"\"a\",\"b\",\"y\"\r\n\"1\",2,x\r\n3,\"4.5\",z\r\n", tableOptions{}},
		"semicolons":            {"b;y;a\n2;x;1\n4.5;z;3\n", tableOptions{comma: ';'}},
		"tabs":                  {"y\ta\tb\nx\t1\t2\nz\t3\t4.5\n", tableOptions{comma: '\t'}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.o.comma == 0 {
				tc.o.comma = ','
			}
			got, err := readTable(strings.NewReader(tc.csv), &dataset.Manifest{Label: "y", Features: []string{"a", "b"}}, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([][]float32{{1, 2}, {3, 4.5}}, got.rows); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"x", "z"}, got.expected); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPredictWithoutAHeader(t *testing.T) {
	o := tableOptions{comma: ',', noHeader: true}
	numbered, named := &dataset.Manifest{Label: "c1", Features: []string{"c0", "c2"}}, &dataset.Manifest{Label: "y", Features: []string{"a", "b"}}
	for _, tc := range []struct {
		csv  string
		m    *dataset.Manifest
		want csvTable
	}{
		{"1,x,2\n3,z,4\n", numbered, csvTable{rows: [][]float32{{1, 2}, {3, 4}}, expected: []string{"x", "z"}}},
		{"1,2\n", numbered, csvTable{rows: [][]float32{{1, 2}}}}, // the label was left out
		{"1,2\n3,4\n", named, csvTable{rows: [][]float32{{1, 2}, {3, 4}}}},
		{"1,2,3\n", nil, csvTable{rows: [][]float32{{1, 2, 3}}}},
	} {
		got, err := readTable(strings.NewReader(tc.csv), tc.m, o)
		if err != nil {
			t.Errorf("%q: %v", tc.csv, err)
			continue
		}
		if diff := cmp.Diff(tc.want, *got, cmp.AllowUnexported(csvTable{})); diff != "" {
			t.Errorf("%q: %s", tc.csv, diff)
		}
	}
	if _, err := readTable(strings.NewReader("1,2,3\n"), named, o); err == nil || !strings.Contains(err.Error(), "3 columns without names, the model takes 2") {
		t.Error(err)
	}
}

func TestPredictRefusesCells(t *testing.T) {
	m := &dataset.Manifest{Label: "y", Features: []string{"a", "b"}}
	for csv, want := range map[string]string{
		"a,b\n1,2\n3,\n":            "row 2 (line 3), column b: missing value",
		"a,b\n1,2\n3,NaN\n":         "row 2 (line 3), column b: missing value",
		"a,b\nInf,2\n":              `row 1 (line 2), column a: "Inf" is not finite`,
		"a,b\n1,0x10\n":             `column b: "0x10" is not a number`,
		"a,b\n1,2\n1\n":             "row 2 (line 3) has 1 cells instead of 2",
		"a;b\n1;2\n":                `no column "a", which the model was trained with; the columns are "a;b"; cells seem to be parted by ';': pass --comma ';'`,
		"1,2\n3,4\n":                "pass --no-header",
		"\xff\xfea\x00,\x00b\x00\n": "UTF-16",
		"a,b\n":                     "no rows",
		"":                          "empty",
	} {
		if _, err := readTable(strings.NewReader(csv), m, tableOptions{comma: ','}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", csv, err, want)
		}
	}
}

func TestPredictJSON(t *testing.T) {
	for text, want := range map[string][][]float32{
		"[1, 2.5]": {{1, 2.5}}, "[[1], [2]]": {{1}, {2}}, " [[1e2]] ": {{100}}, "[[]]": {{}},
	} {
		got, err := jsonRows([]byte(text))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"[1,null]": "row 1, value 2: null is not a number", "[[1,2],[3,null]]": "row 2, value 2: null", "[[1],null]": "row 2 is null",
		"[null]": "null is not a number", `["1"]`: `"1" is not a number`, "[[[1]]]": "row 1, value 1: [1] is not a number", "[1,[2]]": "value 2: [2]",
		"[1e99]": "1e99 is not finite", "[1": "neither a list", "[1][2]": "something follows", "[]": "no rows", "[true]": "true is not a number",
	} {
		if got, err := jsonRows([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v, want %q", text, got, err, want)
		}
	}
}

// TestPredictFillsWhatTrainingFilled: a cell without a value becomes the column's mean, if that is what the dataset was made with.
func TestPredictFillsWhatTrainingFilled(t *testing.T) {
	m := &dataset.Manifest{Label: "y", Features: []string{"a", "b"}, Stats: []dataset.Stats{{Mean: 7.5}, {Mean: -2}}, Source: dataset.Source{Missing: dataset.MissingMean}}
	const csv = "b,a\n,NA\n1,2\n?,3\n"
	got, err := readTable(strings.NewReader(csv), m, tableOptions{comma: ','})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&csvTable{rows: [][]float32{{7.5, -2}, {2, 1}, {3, -2}}, filled: 3}, got, cmp.AllowUnexported(csvTable{})); diff != "" {
		t.Error(diff)
	}
	if _, err := readTable(strings.NewReader("a,b\n1,x\n"), m, tableOptions{comma: ','}); err == nil {
		t.Error("text is filled")
	}
	m.Source.Missing = dataset.MissingDrop
	if _, err := readTable(strings.NewReader(csv), m, tableOptions{comma: ','}); err == nil || !strings.Contains(err.Error(), "row 1 (line 2), column a: missing value") {
		t.Error(err)
	}
}
