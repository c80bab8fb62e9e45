package main

import (
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"

	"tandem.dev/storage/dataset"
)

// FuzzAnswer: whatever answers, the prediction is shown, with as many lines as it has rows, or refused.
func FuzzAnswer(f *testing.F) {
	good := `{"outputs":[{"name":"label","datatype":"INT64","shape":[2],"data":[7,1]},` +
		`{"name":"probabilities","datatype":"FP32","shape":[2,2],"data":[0.25,0.75,1,0]},{"name":"output","shape":[2,2],"data":[1,2,3,4]}]}`
	var p prediction
	if err := json.Unmarshal([]byte(good), &p); err != nil {
		f.Fatal(err)
	}
	if g, err := predictionGrid(p, &question{first: 1, expected: []string{"7", "2"}}); err != nil || len(g.rows) != 2 {
		f.Fatalf("%v, %v", g, err)
	}
	for _, seed := range []string{
		good, "", "{}", "null", `{"outputs":null}`, `{"outputs":[{"name":"output"}]}`, `{"outputs":[{"name":"output","shape":[0],"data":[]}]}`,
		`{"outputs":[{"name":"output","shape":[4611686018427387904],"data":[]}]}`,
		`{"outputs":[{"name":"label","data":["x"]},{"name":"output","shape":[2,1],"data":[1,2]}]}`,
		`{"outputs":[{"name":"label","data":["x","y"]},{"name":"probabilities","shape":[1,1],"data":[1]}]}`,
		`{"outputs":[{"name":"output","shape":[-1],"data":[1]}]}`, `{"outputs":[{"name":"output","shape":[2],"data":["1","2"]}]}`,
		`{"outputs":[{"name":"label","data":[null,{},[]]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p prediction
		if json.Unmarshal(b, &p) != nil {
			return
		}
		g, err := predictionGrid(p, &question{first: 1, expected: []string{"7"}})
		if err != nil {
			return
		}
		labels, _, outputs, _ := p.rows()
		if len(g.rows) != max(len(labels), len(outputs)) {
			t.Errorf("%d lines for %d labels and %d outputs", len(g.rows), len(labels), len(outputs))
		}
		g.write(io.Discard, view{wide: true})
	})
}

// FuzzInput: input is refused, or becomes rows of finite numbers; those of a table are as wide as its header.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{
		"a,b\n1,2\n3,4.5\n", "", "\n", "a", "a,a\n1,2\n", "a,b\n1\n", "a\n\"", "a\nNaN\n", "a\n1e999\n", "\ufeffa\n1\n", "a,b\n1,\n",
		"[1, 2]", "[[1, 2], [3]]", "[]", "[null]", "[[]]", "[1e39]", "[1] [2]", "[", "[[1], 2]", "[\"1\"]", "[true]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		check := func(rows [][]float32, width int) {
			t.Helper()
			if len(rows) == 0 {
				t.Errorf("%d rows of %q", len(rows), text)
			}
			for _, row := range rows {
				if width > 0 && len(row) != width {
					t.Errorf("a row of %d, want %d: %q", len(row), width, text)
				}
				for _, v := range row {
					if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
						t.Errorf("%v in %q", v, text)
					}
				}
			}
		}
		if rows, err := jsonRows([]byte(text)); err == nil {
			check(rows, 0)
		}
		o := tableOptions{comma: ','}
		table, err := readTable(strings.NewReader(text), nil, o)
		if err != nil {
			return
		}
		header, err := dataset.NewReader(strings.NewReader(text), o.comma, o.noHeader)
		if err != nil {
			t.Fatal(err)
		}
		check(table.rows, len(header.Header))
	})
}
