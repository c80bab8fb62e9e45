package door

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Encodings are the values of Content-Encoding that are unpacked, as the header Accept-Encoding of a refusal has them.
const Encodings = "gzip, deflate"

// ErrEncoding says that nobody here unpacks a body.
var ErrEncoding = errors.New("the Content-Encoding is not supported: send the body as it is, or as gzip or deflate")

// ErrPacked says that a body is not what its Content-Encoding says.
var ErrPacked = errors.New("the body of the request cannot be unpacked")

// Unpack makes the body of r what it becomes when it is unpacked, and takes its Content-Encoding away. Nothing is unpacked before it is
// read. count is told how many bytes it becomes while it does, and may refuse more, with ErrBusy for example. Reading fails with
// ErrEncoding, with ErrPacked, or as the body itself does. Who reads it limits what it becomes.
func Unpack(r *http.Request, count func(int64) error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	r.Header.Del("Content-Encoding")
	if encoding == "" || encoding == "identity" {
		return
	}
	r.Header.Del("Content-Length")
	r.ContentLength = -1
	r.Body = &unpacking{encoding: encoding, packed: source{ReadCloser: r.Body}, count: count}
}

// unpacking is a body that is unpacked while it is read.
type unpacking struct {
	encoding string
	packed   source
	plain    io.Reader // nil before the first read
	count    func(int64) error
}

// source is a packed body and why it ended, if that is not at its end.
type source struct {
	io.ReadCloser
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// Read implements io.Reader.
func (u *unpacking) Read(p []byte) (int, error) {
	if u.plain == nil {
		plain, err := u.open()
		if err != nil {
			return 0, err
		}
		u.plain = plain
	}
	n, err := u.plain.Read(p)
	if busy := u.count(int64(n)); busy != nil {
		return 0, busy
	}
	return n, u.why(err)
}

func (u *unpacking) open() (io.Reader, error) {
	var plain io.Reader
	var err error
	switch u.encoding {
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(&u.packed)
	case "deflate": // which is the name of the format of zlib here (RFC 9110)
		plain, err = zlib.NewReader(&u.packed)
	default:
		return nil, fmt.Errorf("Content-Encoding %.40q: %w", u.encoding, ErrEncoding)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return plain, u.why(err)
}

// why says what an error of the format comes of: the body that did not arrive, or its bytes.
func (u *unpacking) why(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case u.packed.failed != nil:
		return u.packed.failed
	}
	return fmt.Errorf("%w: it is not %s, as its Content-Encoding says: %v", ErrPacked, u.encoding, err) //nolint:errorlint // io.ErrUnexpectedEOF would be a client that hung up
}

// Close implements io.Closer.
func (u *unpacking) Close() error { return u.packed.Close() }

// Status is the HTTP status of a body that could not be read, and false for an error that is none of this package.
func Status(err error) (status int, ok bool) {
	switch {
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge, true
	case errors.Is(err, ErrEncoding):
		return http.StatusUnsupportedMediaType, true
	case errors.Is(err, ErrPacked):
		return http.StatusBadRequest, true
	case errors.Is(err, ErrBusy):
		return http.StatusTooManyRequests, true
	case errors.Is(err, ErrTooSlow):
		return http.StatusRequestTimeout, true
	case errors.Is(err, ErrGone):
		return http.StatusUnauthorized, true
	}
	return 0, false
}
