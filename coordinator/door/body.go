package door

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
)

// Pace is the slowest body that is still read. Time that the server spends on what it has read does not count.
type Pace struct {
	// Grace is how long a body may keep the reader waiting before its rate counts, and the longest it can ever fall behind.
	Grace time.Duration
	// Rate is the bytes per second that must come on average after that.
	Rate int64
}

// ErrTooLarge says that a body is larger than its limit.
var ErrTooLarge = errors.New("the body of the request is too large")

// ErrTooSlow says that a body came slower than its pace.
var ErrTooSlow = errors.New("the body of the request came too slowly")

// ErrGone says that who sends a body may not be here any longer.
var ErrGone = errors.New("the request is refused")

// Gone is the Connect error of why who sends a body may not be here any longer; nil: nothing is in the way.
func Gone(why error) error {
	if why == nil {
		return nil
	}
	return connect.NewError(connect.CodeUnauthenticated, fmt.Errorf("%w: %w", ErrGone, why))
}

// Body reads the body of a request within its limits. It fails with ErrTooLarge or ErrTooSlow, as Connect errors of the codes
// RESOURCE_EXHAUSTED and DEADLINE_EXCEEDED.
type Body struct {
	body   io.ReadCloser
	conn   *http.ResponseController
	pace   Pace
	limit  int64
	left   int64
	hold   func(int64) error // counts what was read
	credit time.Duration     // how long the client may keep the reader waiting now
	ended  error
}

// NewBody puts the body of r under limits: at most limit bytes; no limit when it is 0. hold counts what is read, and may refuse more,
// with ErrBusy for example. w is the writer that the server made.
func NewBody(w http.ResponseWriter, r *http.Request, pace Pace, limit int64, hold func(int64) error) *Body {
	return &Body{body: r.Body, conn: http.NewResponseController(w), pace: pace, limit: limit, left: limit, credit: pace.Grace, hold: hold}
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.ended != nil {
		return 0, b.ended
	}
	if b.limit > 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one byte more than is allowed tells that there is more
	}
	begin := time.Now()
	if err := b.conn.SetReadDeadline(begin.Add(b.credit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, b.end(fmt.Errorf("read the request: %w", err))
	}
	n, err := b.body.Read(p)
	b.credit = min(b.pace.Grace, b.credit-time.Since(begin)+time.Duration(n)*time.Second/time.Duration(b.pace.Rate))
	if b.limit > 0 {
		if b.left -= int64(n); b.left < 0 {
			return 0, b.end(connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("%w: the limit is %d bytes", ErrTooLarge, b.limit)))
		}
	}
	if held := b.hold(int64(n)); errors.Is(held, ErrBusy) {
		return 0, b.end(Refusal(held))
	} else if held != nil {
		return 0, b.end(held)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), err == nil && b.credit <= 0:
		return n, b.end(connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("%w: it must come with at least %d bytes a second", ErrTooSlow, b.pace.Rate)))
	case err != nil:
		// The connection goes on to the next request, for which it waits as long as the server does.
		_ = b.conn.SetReadDeadline(time.Time{})
		return n, b.end(err)
	}
	return n, nil
}

// Refusal is the Connect error of an ErrBusy.
func Refusal(err error) *connect.Error {
	ce := connect.NewError(connect.CodeResourceExhausted, err)
	ce.Meta().Set("Retry-After", "1")
	return ce
}

func (b *Body) end(err error) error {
	b.ended = err
	return err
}

// Close implements io.Closer.
func (b *Body) Close() error { return b.body.Close() }

// Unread makes sure that nobody waits for the body of a request that is refused: the server would read on to keep the connection.
func Unread(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // a writer without deadlines, in a test, has no connection either
}

// Timed gives every body a deadline, whoever reads it: that of a request which a handler answers without reading it too.
func Timed(next http.Handler, pace Pace) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(pace.Grace)) // as in Unread
		}
		next.ServeHTTP(w, r)
	})
}
