package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Reader reads the records of a CSV file as FromCSV does. A byte order mark and the white space around names and cells
// are no part of them; UTF-16 is refused.
type Reader struct {
	// Header is the names of the columns, all different and none empty: one without a name is called "column 1", "column 2" ...
	Header []string

	unnamed map[string]bool
	csv     *csv.Reader
	row     *bounded
	comma   rune
	first   []string // a record that is read already
}

// NewReader reads the header. comma parts the cells. noHeader: the first line is data, and the columns are c0, c1 ...
func NewReader(r io.Reader, comma rune, noHeader bool) (*Reader, error) {
	row := &bounded{r: r, left: maxRow}
	buffered := bufio.NewReaderSize(row, 1<<16)
	start, _ := buffered.Peek(1 << 16)
	if err := notCSV(start); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte("\uFEFF")):
		if _, err := buffered.Discard(3); err != nil {
			return nil, fmt.Errorf("read csv: %w", err)
		}
	}
	c := csv.NewReader(buffered)
	c.Comma, c.FieldsPerRecord, c.ReuseRecord, c.TrimLeadingSpace = comma, -1, true, true
	record, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	switch {
	case err != nil && (bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("["))):
		return nil, errors.New("the file is JSON, not CSV: write it as CSV, a line for each row below one with the names of the columns")
	case err != nil:
		return nil, fmt.Errorf("read csv header: %w", err)
	}
	t := &Reader{Header: trimmed(slices.Clone(record)), unnamed: map[string]bool{}, csv: c, row: row, comma: comma}
	if noHeader {
		t.first = slices.Clone(t.Header)
		for i := range t.Header {
			t.Header[i] = "c" + strconv.Itoa(i)
		}
		return t, nil
	}
	return t, t.checkHeader()
}

// notCSV says what a file is that begins so and is not a CSV file; nil: it may be one.
func notCSV(start []byte) error {
	for _, f := range []struct{ begins, says string }{
		{"\xFF\xFE", utf16}, {"\xFE\xFF", utf16},
		{"\x1F\x8B", "the file is packed with gzip: unpack it first, with `gunzip`"},
		{"PK\x03\x04", "the file is a ZIP archive or an Excel workbook: unpack it, or export the sheet as CSV"},
		{"PAR1", "the file is Parquet: write it as CSV"},
	} {
		if bytes.HasPrefix(start, []byte(f.begins)) {
			return errors.New(f.says)
		}
	}
	if bytes.ContainsRune(start, '\r') && !bytes.ContainsRune(start, '\n') {
		return errors.New("the lines of the file end with a carriage return alone: convert it with `tr '\\r' '\\n'`")
	}
	return nil
}

const utf16 = "the file is UTF-16: save it as UTF-8, or convert it with `iconv -f UTF-16 -t UTF-8`"

// toUTF8 is what to do about a text that is not UTF-8.
const toUTF8 = "convert the file from the encoding that it has, such as with `iconv -f LATIN1 -t UTF-8`"

// maxRow is how many bytes one row may have. It is in memory as a whole, a few times over.
const maxRow = 4 << 20

// errLongRow: a row is longer than that.
var errLongRow = fmt.Errorf("a row has more than %d MiB: see that rows end with a line end, and that quotes are closed", maxRow>>20)

// bounded reads no more for a row than one may have.
type bounded struct {
	r    io.Reader
	left int // bytes that may still come
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongRow
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

func (t *Reader) checkHeader() error {
	numbers := 0
	for _, h := range t.Header {
		if _, kind := number(h); kind == kindInt || kind == kindFloat {
			numbers++
		}
	}
	if numbers == len(t.Header) {
		return errors.New("the first line holds only numbers, so it is not a header; pass --no-header (columns are then named c0, c1, ...)")
	}
	seen := map[string]bool{}
	for i, h := range t.Header {
		switch {
		case h == "":
			h = fmt.Sprintf("column %d", i+1)
			t.Header[i], t.unnamed[h] = h, true
		case !utf8.ValidString(h):
			return fmt.Errorf("the name of column %d, %q, is not UTF-8: %s", i+1, h, toUTF8)
		}
		switch {
		case seen[h]:
			return fmt.Errorf("two columns are named %q", h)
		}
		seen[h] = true
	}
	return nil
}

// Read returns the next record and the line it begins on, until io.EOF. The record may have fewer or more cells than the
// header has names, and is good until the next Read.
func (t *Reader) Read() (record []string, line int, err error) {
	if t.first != nil {
		record, t.first = t.first, nil
		return record, 1, nil
	}
	t.row.left = maxRow
	record, err = t.csv.Read()
	switch {
	case err == io.EOF:
		return nil, 0, err
	case errors.Is(err, errLongRow):
		return nil, 0, fmt.Errorf("read csv: %w", err)
	}
	if err != nil {
		// After a stray quote nobody knows where the next row begins.
		return nil, 0, fmt.Errorf("read csv: %w; mend the quotes of this line", err)
	}
	line, _ = t.csv.FieldPos(0)
	return trimmed(record), line, nil
}

func trimmed(cells []string) []string {
	for i, c := range cells {
		cells[i] = strings.TrimSpace(c)
	}
	return cells
}

// Columns names the columns for people, with a hint for files whose cells are parted by something else.
func (t *Reader) Columns() string {
	if len(t.Header) == 1 {
		text := strings.Join(append([]string{t.Header[0]}, t.first...), "")
		for _, c := range ";\t|," {
			if c != t.comma && strings.ContainsRune(text, c) {
				flag := "'" + string(c) + "'"
				if c == '\t' {
					flag = "tab"
				}
				return fmt.Sprintf("%.60q; cells seem to be parted by %q: pass --comma %s", t.Header[0], c, flag)
			}
		}
	}
	return nameSome(t.Header)
}

// ErrMissing says that a cell has no value.
var ErrMissing = errors.New("missing value")

// ParseCell reads a feature as FromCSV does. Its error says what is wrong with the cell; ErrMissing if it has no value.
func ParseCell(cell string) (float32, error) {
	v, kind := number(cell)
	switch kind {
	case kindMissing:
		return 0, ErrMissing
	case kindRange:
		return 0, fmt.Errorf("%.40q is not finite as a 32-bit number", cell)
	case kindText:
		return 0, fmt.Errorf("%.40q is not a number", cell)
	}
	return v, nil
}
