package dataset

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// endless repeats a text up to n bytes.
func endless(text string, n int64) io.Reader { return io.LimitReader(&repeated{text: text}, n) }

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

// TestHugeRows: a file of one line, or with more columns than there may be, is refused for what it is, with the memory of the longest row
// that may be and not of the file.
func TestHugeRows(t *testing.T) {
	const gib = 1 << 30
	header := strings.NewReader
	var many strings.Builder
	for i := range 500_000 {
		fmt.Fprintf(&many, "%x,", i)
	}
	for name, tc := range map[string]struct {
		file io.Reader
		says string
	}{
		"one line":                  {endless("x", gib), "a row has more than 4 MiB"},
		"one line of cells":         {endless("1,", gib), "a row has more than 4 MiB"},
		"a quote that is not ended": {io.MultiReader(header("a,y\n1,2\n\""), endless("1\n", gib)), "a row has more than 4 MiB"},
		"a long line of data":       {io.MultiReader(header("a,y\n1,2\n"), endless("1", gib)), "a row has more than 4 MiB"},
		"half a million columns":    {header(many.String() + "y\n"), "the file has 500001 columns, at most 65536"},
		"a million cells in a row":  {io.MultiReader(header("a,y\n1,2\n"), endless("1,", 2_000_000)), "has 1000001 cells instead of 2"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := FromCSV(t.Context(), tc.file, options("80/20"), func(string, []byte) error { return nil })
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tc.says) || len(err.Error()) > 1000 {
			t.Errorf("%s: %.300v, want %q", name, err, tc.says)
		}
		if taken := after.TotalAlloc - before.TotalAlloc; taken > gib/2 {
			t.Errorf("%s: %d MiB were taken", name, taken>>20)
		}
	}
	// The longest row that may be is read.
	cell := strings.Repeat("1", maxRow-1<<17)
	r, err := NewReader(bytes.NewReader([]byte("a\n"+cell+"\n"+cell+"\n")), ',', false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if record, _, err := r.Read(); err != nil || len(record[0]) != len(cell) {
			t.Errorf("%d cells, %v", len(record), err)
		}
	}
}
