package door

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func pack(t *testing.T, w io.WriteCloser, to *bytes.Buffer, text string) []byte {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func unpackRequest(encoding string, body io.Reader, count func(int64) error) *http.Request {
	r := httptest.NewRequest("POST", "/", body)
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	Unpack(r, count)
	return r
}

// TestUnpackBody: what a body becomes, or why not: its encoding, its bytes, or what kept them from arriving.
func TestUnpackBody(t *testing.T) {
	var a, b bytes.Buffer
	gz, zl := pack(t, gzip.NewWriter(&a), &a, "hello"), pack(t, zlib.NewWriter(&b), &b, "hello")
	cut := errors.New("cut")
	for _, tc := range []struct {
		encoding string
		body     io.Reader
		want     string
		err      error
		status   int
	}{
		{"", strings.NewReader("hello"), "hello", nil, 0},
		{"Identity", strings.NewReader("hello"), "hello", nil, 0},
		{"gzip", bytes.NewReader(gz), "hello", nil, 0},
		{"GZIP", bytes.NewReader(gz), "hello", nil, 0},
		{"x-gzip", bytes.NewReader(gz), "hello", nil, 0},
		{"gzip", bytes.NewReader(append(bytes.Clone(gz), gz...)), "hellohello", nil, 0},
		{"deflate", bytes.NewReader(zl), "hello", nil, 0},
		{"gzip", bytes.NewReader(zl), "", ErrPacked, 400},
		{"deflate", bytes.NewReader(gz), "", ErrPacked, 400},
		{"gzip", strings.NewReader(""), "", ErrPacked, 400},
		{"gzip", bytes.NewReader(gz[:len(gz)-1]), "hello", ErrPacked, 400},
		{"gzip", bytes.NewReader(append(bytes.Clone(gz), "rubbish.."...)), "hello", ErrPacked, 400},
		{"gzip", io.MultiReader(bytes.NewReader(gz[:len(gz)-1]), iotest.ErrReader(cut)), "hello", cut, 0},
		{"deflate", iotest.ErrReader(ErrTooSlow), "", ErrTooSlow, 408},
		{"br", strings.NewReader("hello"), "", ErrEncoding, 415},
	} {
		r := unpackRequest(tc.encoding, tc.body, func(int64) error { return nil })
		got, err := io.ReadAll(r.Body)
		status, _ := Status(err)
		if string(got) != tc.want || !errors.Is(err, tc.err) || status != tc.status || r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %q, %v, %d; want %q, %v, %d", tc.encoding, got, err, status, tc.want, tc.err, tc.status)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v looks like a client that hung up", tc.encoding, err)
		}
	}
}

// TestUnpackIsCounted: what becomes of a body is counted while it is unpacked, and no more is unpacked than is read.
func TestUnpackIsCounted(t *testing.T) {
	var b bytes.Buffer
	bomb := pack(t, gzip.NewWriter(&b), &b, strings.Repeat("x", 16<<20))
	counted := int64(0)
	r := unpackRequest("gzip", bytes.NewReader(bomb), func(n int64) error { counted += n; return nil })
	if got, err := io.ReadAll(io.LimitReader(r.Body, 1000)); len(got) != 1000 || err != nil || counted != 1000 {
		t.Errorf("read %d, %v, counted %d", len(got), err, counted)
	}
	r = unpackRequest("gzip", bytes.NewReader(bomb), func(n int64) error {
		if counted += n; counted > 100_000 {
			return ErrBusy
		}
		return nil
	})
	if _, err := io.ReadAll(r.Body); !errors.Is(err, ErrBusy) || counted > 300_000 {
		t.Errorf("%v after %d bytes", err, counted)
	}
}
